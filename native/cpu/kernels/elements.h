// Elements of device memory on the processor: bf16, fp16 or float32, computed with in float32.
#pragma once

#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>

#include "../../cuda/kernels/kernels.h"
#include "../launch.h"

namespace signstep::kernels {

struct Bf16 {
  std::uint16_t bits;
};

inline float to_float(float x) { return x; }
inline float to_float(Bf16 x) {
  const std::uint32_t bits = static_cast<std::uint32_t>(x.bits) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
struct Half {
  std::uint16_t bits;
};
inline float to_float(Half x) { return _cvtsh_ss(x.bits); }

template <class T>
T from_float(float x);
template <>
inline Half from_float<Half>(float x) {
  return {_cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT)};
}
template <>
inline float from_float<float>(float x) {
  return x;
}
// Round to nearest even; a NaN stays one.
template <>
inline Bf16 from_float<Bf16>(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if (x != x) return {static_cast<std::uint16_t>(bits >> 16 | 0x40)};
  return {static_cast<std::uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)};
}

[[noreturn]] inline void refuse(const std::string& kernel, const std::string& what) {
  throw rt::Failure{rt::Failure::Kind::invalid, kernel + ": " + what};
}
template <class T>
struct Element {
  using type = T;
};

// Calls body(Element<T>) for the type of an operand.
template <class Body>
void with_type(Precision precision, program::ElementType type, Body&& body) {
  if (type == program::ElementType::float32 || precision == Precision::float32) return body(Element<float>{});
  if (precision == Precision::fp16) return body(Element<Half>{});
  body(Element<Bf16>{});
}

// The first axis is cut into pieces; the others are walked by strides. body(places) for every element, with the place in each operand.
struct Axes {
  std::int32_t rank;
  std::int64_t dims[6];
  std::int64_t count() const {
    std::int64_t all = 1;
    for (std::int32_t i = 0; i < rank; ++i) all *= dims[i];
    return all;
  }
};

// Places of consecutive elements in N strided operands, from element `first` on.
template <int N>
class Places {
 public:
  Places(const Axes& axes, const std::int64_t* const (&strides)[N], std::int64_t first) : axes_(axes) {
    for (int n = 0; n < N; ++n) strides_[n] = strides[n];
    for (std::int32_t i = axes.rank - 1; i >= 0; --i) {
      if (axes.dims[i] == 0) continue;  // nothing to walk: a reduction over no elements
      index_[i] = first % axes.dims[i];
      first /= axes.dims[i];
      for (int n = 0; n < N; ++n) at[n] += index_[i] * strides_[n][i];
    }
  }
  // Elements that remain of the innermost axis, along which places move by its stride.
  std::int64_t run() const { return axes_.rank == 0 ? 1 : axes_.dims[axes_.rank - 1] - index_[axes_.rank - 1]; }
  std::int64_t stride(int n) const { return axes_.rank == 0 ? 0 : strides_[n][axes_.rank - 1]; }
  // Moves on by `count` elements, at most run().
  void advance(std::int64_t count) {
    std::int32_t i = axes_.rank - 1;
    if (i < 0) return;
    for (int n = 0; n < N; ++n) at[n] += count * strides_[n][i];
    index_[i] += count;
    while (index_[i] >= axes_.dims[i] && i > 0) {
      for (int n = 0; n < N; ++n) at[n] += strides_[n][i - 1] - axes_.dims[i] * strides_[n][i];
      index_[i] = 0;
      ++index_[--i];
    }
  }

  std::int64_t at[N] = {};

 private:
  const Axes& axes_;
  const std::int64_t* strides_[N];
  std::int64_t index_[6] = {};
};

}  // namespace signstep::kernels
