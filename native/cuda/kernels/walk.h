// Walking strided arrays: on the host the axes of an operation are merged where all operands allow it, on the device a linear index
// becomes one offset an operand. Knows no device: tested as plain C++.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define SIGNSTEP_ANYWHERE __host__ __device__ __forceinline__
#else
#define SIGNSTEP_ANYWHERE inline
#endif

namespace signstep::kernels {

inline constexpr int kMaxRank = 6;

// Axes of an operation over several operands, the fastest first. Always at least one.
template <int Operands>
struct Axes {
  int rank = 0;
  std::int64_t dims[kMaxRank] = {};
  std::int64_t strides[Operands][kMaxRank] = {};

  std::int64_t count() const {
    std::int64_t product = 1;
    for (int i = 0; i < rank; i++) product *= dims[i];
    return product;
  }

  // Adds a slower axis, merged with the slowest so far where every operand walks on evenly.
  void push(std::int64_t dim, const std::int64_t (&stride)[Operands]) {
    if (dim == 1) return;
    bool even = rank > 0;
    for (int o = 0; even && o < Operands; o++) even = stride[o] == strides[o][rank - 1] * dims[rank - 1];
    if (even) {
      dims[rank - 1] *= dim;
      return;
    }
    for (int o = 0; o < Operands; o++) strides[o][rank] = stride[o];
    dims[rank++] = dim;
  }

  // Where nothing was pushed but axes of length 1: one axis of one element.
  void finish() {
    if (rank > 0) return;
    rank = 1;
    dims[0] = 1;
    for (int o = 0; o < Operands; o++) strides[o][0] = 1;
  }

  Axes without(int axis) const {
    Axes rest;
    for (int i = 0; i < rank; i++) {
      if (i == axis) continue;
      for (int o = 0; o < Operands; o++) rest.strides[o][rest.rank] = strides[o][i];
      rest.dims[rest.rank++] = dims[i];
    }
    rest.finish();
    return rest;
  }
};

// Division by a number known at launch: for indices below 2^31 a multiplication instead of some 40 instructions (Granlund and Montgomery).
struct Divisor {
  std::int64_t divisor = 1;
  std::uint32_t magic = 1, shift = 0;

  Divisor() = default;
  explicit Divisor(std::int64_t d) : divisor(d) {
    if (d >= (std::int64_t{1} << 31)) return;  // only divides wide
    while ((std::int64_t{1} << shift) < d) shift++;
    const auto by = static_cast<std::uint64_t>(d);
    magic = static_cast<std::uint32_t>(((std::uint64_t{1} << 32) * ((std::uint64_t{1} << shift) - by)) / by + 1);
  }
  SIGNSTEP_ANYWHERE std::int64_t quotient(std::int64_t index, bool wide) const {
    if (wide) return index / divisor;
    const auto n = static_cast<std::uint32_t>(index);
    const auto high = static_cast<std::uint32_t>((static_cast<std::uint64_t>(n) * magic) >> 32);
    return static_cast<std::int64_t>((high + n) >> shift);
  }
};

template <int Operands>
struct Walk {
  std::int64_t count = 0;
  int rank = 0;
  bool wide = false;  // count passes 2^31
  Divisor dims[kMaxRank];
  std::int64_t strides[Operands][kMaxRank] = {};

  Walk() = default;
  explicit Walk(const Axes<Operands>& axes) : count(axes.count()), rank(axes.rank), wide(count >= (std::int64_t{1} << 31)) {
    for (int i = 0; i < rank; i++) {
      dims[i] = Divisor(axes.dims[i] > 0 ? axes.dims[i] : 1);
      for (int o = 0; o < Operands; o++) strides[o][i] = axes.strides[o][i];
    }
  }

  // Offsets of element `index`, counted with the first axis fastest. Unrolled: every array stays in constant memory or registers.
  SIGNSTEP_ANYWHERE void offsets(std::int64_t index, std::int64_t (&out)[Operands]) const {
#if defined(__CUDACC__)
#pragma unroll
#endif
    for (int o = 0; o < Operands; o++) out[o] = 0;
#if defined(__CUDACC__)
#pragma unroll
#endif
    for (int axis = 0; axis < kMaxRank; axis++) {
      if (axis >= rank) break;
      std::int64_t position = index;
      if (axis + 1 < rank) {
        index = dims[axis].quotient(index, wide);
        position -= index * dims[axis].divisor;
      }
#if defined(__CUDACC__)
#pragma unroll
#endif
      for (int o = 0; o < Operands; o++) out[o] += position * strides[o][axis];
    }
  }
  SIGNSTEP_ANYWHERE std::int64_t offset(std::int64_t index) const {
    std::int64_t out[Operands];
    offsets(index, out);
    return out[0];
  }
};

}  // namespace signstep::kernels
