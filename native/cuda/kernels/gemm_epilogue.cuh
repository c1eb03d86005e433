// The epilogues of gemm(), once for both matrix cores. A core holds its product in registers, in the layout of mma fragments: 16 rows by 64
// columns a warp and slab. Each warp passes one slab at a time through 4 KB of shared memory of its own and gets back runs of 8 columns,
// so that global memory is read and written in whole 128-byte lines.
#pragma once

#include <type_traits>

#include "../ptx/device.h"
#include "gemm_activation.cuh"
#include "gemm_args.cuh"
#include "gemm_epilogue_step.cuh"
#include "gemm_rows.cuh"
#include "gemm_run.cuh"
#include "gemm_tile.cuh"

namespace signstep::kernels {
namespace {

using namespace signstep::device;

constexpr int kStageBytes = kSlabRows * kSlabColumns * 4;  // a warp
constexpr int kPasses = 4;                                 // 4 rows of 8 lanes each

// What a kernel's epilogues need not serve: kWholeRuns, runs that are not whole; kSteps, step_linf (16 registers more than the others). And
// what only some serve: kRich, a folded LayerNorm (RowNorm, statistics, dots, norm_backward) and gated activations; kGrid, rows of windows,
// which EpilogueArgs::grid maps; kQuantised, operands that have scales, by which the product is multiplied first.
template <bool kWholeRuns_, bool kSteps_, bool kRich_, bool kGrid_ = false, bool kQuantised_ = false>
struct EpilogueTraits {
  static constexpr bool kWholeRuns = kWholeRuns_, kSteps = kSteps_, kRich = kRich_, kGrid = kGrid_, kQuantised = kQuantised_;
};
template <bool kRich>
using AnyEpilogue = EpilogueTraits<false, !kRich, kRich>;
using QuantisedEpilogue = EpilogueTraits<true, false, true, false, true>;

// What an epilogue reads and writes where the product is of elements T.
template <class T>
using ValueOf = std::conditional_t<std::is_same_v<T, e4m3>, bf16, T>;

template <class Traits>
__device__ __forceinline__ int stored_row(const EpilogueArgs& e, int row) {
  if constexpr (Traits::kGrid)
    return mapped_row(e.grid, row);
  else
    return mapped_row(e.out_map, row);
}

template <class Traits>
__device__ __forceinline__ bool whole_runs(const EpilogueArgs& e) {
  return Traits::kWholeRuns || e.vector;
}

// Where four columns (run, half of it) of a row lie in the stage, in floats. The exclusive or spreads both what fragments write (4 rows
// by 16 columns a half-warp) and what runs read (one row a quarter-warp) over all banks.
__device__ __forceinline__ int stage_at(int row, int run, int half) {
  return row * kSlabColumns + (half * 8 + (run ^ ((row & 3) << 1 | half))) * 4;
}

// value(j, e): element e of the fragment of columns 8j … 8j+7 (e = 0, 1: row lane/4; e = 2, 3: eight rows below).
template <class Fragments>
__device__ __forceinline__ void stage_slab(Shared<float> stage, Fragments&& value) {
  const int lane = static_cast<int>(threadIdx.x) % 32, row = lane / 4, half = lane % 4 / 2, within = lane % 2;
  Shared<float2> pairs = shared_cast<float2>(stage);
#pragma unroll
  for (int j = 0; j < kSlabColumns / kRun; ++j) {
    const int at = stage_at(row, j, half) / 2 + within;
    pairs[at] = make_float2(value(j, 0), value(j, 1));
    pairs[at + 8 * kSlabColumns / 2] = make_float2(value(j, 2), value(j, 3));
  }
}

__device__ __forceinline__ void staged_run(Shared<float> stage, int row, int run, float (&v)[kRun]) {
  const float4 low = shared_cast<float4>(stage)[stage_at(row, run, 0) / 4];
  const float4 high = shared_cast<float4>(stage)[stage_at(row, run, 1) / 4];
  v[0] = low.x, v[1] = low.y, v[2] = low.z, v[3] = low.w;
  v[4] = high.x, v[5] = high.y, v[6] = high.z, v[7] = high.w;
}

// What an epilogue reads besides the product, residual or pre-activation: brought in by cp.async one slab ahead, so that the latency of
// global memory (about 600 cycles) is hidden and no register waits for it. Each lane copies the very runs it will read, so no barrier.
// norm_backward reads two arrays, swiglu_backward twice as many elements: each of two runs has one of the two slabs of memory, and is asked
// for again as soon as it has been used.
template <class T, class Traits>
class ExtraRuns {
 public:
  static constexpr int kSlabBytes = kSlabRows * kSlabColumns * static_cast<int>(sizeof(T));
  static constexpr int kBytes = 2 * kSlabBytes;  // a warp: one slab is read, one arrives

  // `memory`: kBytes of this warp's own.
  __device__ __forceinline__ explicit ExtraRuns(Shared<std::uint8_t> memory) : memory_(memory) {}

  // Asks for slab `slab` of the tile. Beyond the last slab: for nothing, which keeps the count of groups in flight.
  __device__ __forceinline__ void fetch(const EpilogueArgs& e, int rows, const WarpTile& tile, int slab, int slabs) const {
    if (reads_two(e)) {
      if (slab == 0) {
#pragma unroll
        for (int pass = 0; pass < kPasses; ++pass) fetch_two(e, rows, tile, slab, slabs, pass);
      }
    } else if (e.extra != nullptr && whole_runs<Traits>(e) && slab < slabs) {
#pragma unroll
      for (int pass = 0; pass < kPasses; ++pass) fetch_run(e, e.extra, rows, tile, slab, pass, slab % 2);
    }
    cp_async_commit();
  }
  // What was asked for of the slab that is to be written is there.
  __device__ __forceinline__ void arrive(const EpilogueArgs& e) const {
    if (reads_two(e))
      cp_async_wait<0>();
    else
      cp_async_wait<1>();
  }
  __device__ __forceinline__ static bool reads_two(const EpilogueArgs& e) { return Traits::kRich && e.second != nullptr; }
  // Both runs of a pass; the group they belong to is closed by the fetch of the next slab.
  __device__ __forceinline__ void fetch_two(const EpilogueArgs& e, int rows, const WarpTile& tile, int slab, int slabs, int pass) const {
    if (!whole_runs<Traits>(e) || slab >= slabs) return;
    if (e.extra != nullptr) fetch_run(e, e.extra, rows, tile, slab, pass, 0);
    fetch_run(e, e.second, rows, tile, slab, pass, 1);
  }
  // The run of this lane in a pass of a slab; count <= 0 where it lies outside the matrix.
  __device__ __forceinline__ RawRun<T> take(const EpilogueArgs& e, int row, int column, int count, int slab, int pass) const {
    if (e.extra == nullptr) return {};
    return taken(e, e.extra, row, column, count, reads_two(e) ? 0 : slab % 2, pass);
  }
  __device__ __forceinline__ RawRun<T> take_second(const EpilogueArgs& e, int row, int column, int count, int pass) const {
    return taken(e, e.second, row, column, count, 1, pass);
  }

 private:
  static constexpr int kParts = kRun * static_cast<int>(sizeof(T)) / 16, kPartElements = kRun / kParts;

  __device__ __forceinline__ void fetch_run(const EpilogueArgs& e, const void* array, int rows, const WarpTile& tile, int slab, int pass,
                                            int half) const {
    const int lane = static_cast<int>(threadIdx.x) % 32, column = tile.slab_column(slab) + lane % 8 * kRun;
    const int row = tile.slab_row(slab) + 4 * pass + lane / 8;
    const bool inside = row < rows && column < e.n;
    const T* from = inside ? address(e, array, row, column) : static_cast<const T*>(array);
#pragma unroll
    for (int part = 0; part < kParts; ++part) cp_async16(place(half, pass, part), from + part * kPartElements, inside);
  }
  __device__ __forceinline__ RawRun<T> taken(const EpilogueArgs& e, const void* array, int row, int column, int count, int half, int pass) const {
    if (!whole_runs<Traits>(e)) return load_run(address(e, array, row, column), count, false);
    RawRun<T> raw;
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      const uint4 words = shared_cast<uint4>(place(half, pass, part))[0];
      raw.word[4 * part] = words.x;
      raw.word[4 * part + 1] = words.y;
      raw.word[4 * part + 2] = words.z;
      raw.word[4 * part + 3] = words.w;
    }
    return raw;
  }

  __device__ __forceinline__ static const T* address(const EpilogueArgs& e, const void* array, int row, int column) {
    const std::int64_t at = static_cast<std::int64_t>(stored_row<Traits>(e, row)) * e.n + column;
    return static_cast<const T*>(array) + (Traits::kRich && e.kind == Epilogue::swiglu_backward ? 2 * at : at);
  }
  __device__ __forceinline__ Shared<T> place(int half, int pass, int part) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    return shared_cast<T>(memory_ + (half * kSlabBytes + ((pass * kParts + part) * 32 + lane) * 16));
  }

  Shared<std::uint8_t> memory_;
};

// Shared memory an epilogue needs of a warp.
template <class T>
constexpr int kEpilogueBytes = kStageBytes + ExtraRuns<T, AnyEpilogue<true>>::kBytes;

__device__ __forceinline__ bool is_backward(Epilogue kind) {
  return kind == Epilogue::gelu_erf_backward || kind == Epilogue::gelu_tanh_backward || kind == Epilogue::quick_gelu_backward ||
         kind == Epilogue::silu_backward || kind == Epilogue::relu_backward;
}

// One switch a run, outside the loop over its elements.
template <class T>
__device__ __forceinline__ void activate_run(Epilogue kind, float (&v)[kRun]) {
  const auto each = [&](Epilogue fixed) {
#pragma unroll
    for (int i = 0; i < kRun; ++i) v[i] = activate<T>(fixed, v[i]);
  };
  switch (kind) {
    case Epilogue::gelu_erf: each(Epilogue::gelu_erf); break;
    case Epilogue::gelu_tanh: each(Epilogue::gelu_tanh); break;
    case Epilogue::quick_gelu: each(Epilogue::quick_gelu); break;
    case Epilogue::silu: each(Epilogue::silu); break;
    default: each(Epilogue::relu); break;
  }
}

template <class T>
__device__ __forceinline__ void multiply_by_slope(Epilogue kind, float (&v)[kRun], const float (&x)[kRun]) {
  const auto each = [&](Epilogue fixed) {
#pragma unroll
    for (int i = 0; i < kRun; ++i) v[i] *= activation_slope<T>(fixed, x[i]);
  };
  switch (kind) {
    case Epilogue::gelu_erf_backward: each(Epilogue::gelu_erf_backward); break;
    case Epilogue::gelu_tanh_backward: each(Epilogue::gelu_tanh_backward); break;
    case Epilogue::quick_gelu_backward: each(Epilogue::quick_gelu_backward); break;
    case Epilogue::silu_backward: each(Epilogue::silu_backward); break;
    default: each(Epilogue::relu_backward); break;
  }
}

// The product of rows that were divided by their scales, in its own units.
template <class Traits>
__device__ __forceinline__ void scale_run(const EpilogueArgs& e, int row, int column, int count, float (&v)[kRun]) {
  const float by_row = e.a_scale[row];
  combine_run(e.b_scale + column, count, whole_runs<Traits>(e), v, [&](float product, float by_column) { return product * (by_row * by_column); });
}

// A product of normalised rows.
template <class Traits>
__device__ __forceinline__ void normalise_run(const EpilogueArgs& e, int column, int count, const RowFactors& of_row, float (&v)[kRun]) {
  if (e.column_sums != nullptr)
    combine_run(e.column_sums + column, count, whole_runs<Traits>(e), v, [&](float a, float sum) { return fmaf(-of_row.mean, sum, a); });
#pragma unroll
  for (int i = 0; i < kRun; ++i) v[i] *= of_row.rstd;
}

// dx of a folded LayerNorm, but for the residual.
template <class T>
__device__ __forceinline__ void norm_backward_run(const RowFactors& of_row, const RawRun<T>& raw_x, float (&v)[kRun]) {
  float x[kRun];
  unpack_run(raw_x, x);
#pragma unroll
  for (int i = 0; i < kRun; ++i) v[i] = fmaf(of_row.rstd, v[i], of_row.slope * (of_row.mean - x[i]));
}

// Writes silu(a) * b of four pairs. 8 bytes of a 16-bit type.
template <class T>
__device__ __forceinline__ void write_gated(T* to, int count, bool whole, const float (&v)[kRun]) {
  float h[kRun] = {};
#pragma unroll
  for (int i = 0; i < kRun / 2; ++i) h[i] = activate<T>(Epilogue::silu, v[2 * i]) * v[2 * i + 1];
  if (!whole) return store_run(to, count < kRun ? count / 2 : kRun / 2, false, h);
  const RawRun<T> raw = pack_run(h, static_cast<const T*>(nullptr));
  if constexpr (sizeof(T) == 4)
    *reinterpret_cast<uint4*>(to) = make_uint4(raw.word[0], raw.word[1], raw.word[2], raw.word[3]);
  else
    *reinterpret_cast<uint2*>(to) = make_uint2(raw.word[0], raw.word[1]);
}

// The gradients of four pairs a, b from those of silu(a) * b, g[kFirst] to g[kFirst + 3]; `column` is that of the pairs.
template <class T, int kFirst, class Traits>
__device__ __forceinline__ void gated_backward(const EpilogueArgs& e, int row, int column, int count, const float (&g)[kRun],
                                               const RawRun<T>& raw, float& dot) {
  float x[kRun], d[kRun];
  unpack_run(raw, x);
#pragma unroll
  for (int i = 0; i < kRun; i += 2) {
    d[i] = g[kFirst + i / 2] * x[i + 1] * activation_slope<T>(Epilogue::silu_backward, x[i]);
    d[i + 1] = g[kFirst + i / 2] * activate<T>(Epilogue::silu, x[i]);
  }
  const bool whole = whole_runs<Traits>(e);
  store_run(static_cast<T*>(e.out) + static_cast<std::int64_t>(stored_row<Traits>(e, row)) * 2 * e.n + column, count, whole, d);
  if (e.dots == nullptr) return;
  if (e.bias != nullptr) combine_run(e.bias + column, count, whole, x, [](float a, float b) { return a - b; });
#pragma unroll
  for (int i = 0; i < kRun; ++i) dot = whole || i < count ? fmaf(d[i], x[i], dot) : dot;
}

// Ends one run of the product and writes it; dot: see emit_dot().
template <class T, class Traits>
__device__ __forceinline__ void finish_run(const EpilogueArgs& e, int row, int column, float (&v)[kRun], const RawRun<T>& raw_extra, float& dot) {
  const int count = e.n - column;
  const bool whole = whole_runs<Traits>(e);
  const std::int64_t at = static_cast<std::int64_t>(stored_row<Traits>(e, row)) * e.n + column;
  if (is_backward(e.kind)) {
    if (e.addend != nullptr) add_run(load_run(static_cast<const T*>(e.addend) + at, count, whole), v);
    float pre_activation[kRun];
    unpack_run(raw_extra, pre_activation);
    multiply_by_slope<T>(e.kind, v, pre_activation);
    if (Traits::kRich && e.dots != nullptr) {
      if (e.bias != nullptr) combine_run(e.bias + column, count, whole, pre_activation, [](float a, float b) { return a - b; });
#pragma unroll
      for (int i = 0; i < kRun; ++i) dot = whole || i < count ? fmaf(v[i], pre_activation[i], dot) : dot;
    }
  } else {
    const auto add = [](float a, float b) { return a + b; };
    if (e.bias != nullptr) combine_run(e.bias + column, count, whole, v, add);
    if (e.kind == Epilogue::store || e.kind == Epilogue::store_float || (Traits::kRich && e.kind == Epilogue::norm_backward)) {
      if (e.scale != nullptr) combine_run(e.scale + column, count, whole, v, [](float a, float b) { return a * b; });
      if (e.table != nullptr)
        combine_run(e.table + static_cast<std::int64_t>(row % e.out_map.group) * e.n + column, count, whole, v, add);
      add_run(raw_extra, v);
    } else {
      if (e.kind == Epilogue::relu) add_run(raw_extra, v);
      if (e.aux != nullptr) store_run(static_cast<T*>(e.aux) + at, count, whole, v);
      if (Traits::kRich && e.kind == Epilogue::swiglu) return write_gated(static_cast<T*>(e.out) + at / 2, count, whole, v);
      activate_run<T>(e.kind, v);
    }
  }
  if (e.kind == Epilogue::store_float)
    store_run(static_cast<float*>(e.out) + at, count, whole, v);
  else
    store_run(static_cast<T*>(e.out) + at, count, whole, v);
}

// Writes kSlabs slabs of a warp's product. value(s, j, e) with constant s, j, e after unrolling: accumulators stay in registers. The first
// slab of `extra` must have been asked for. The loop over runs is not unrolled: one copy of all epilogues is about 1,500 instructions.
// `warp_rows` are prepared, where the kernel serves kRich.
template <class T, int kSlabs, class Traits, class WarpRows, class Accumulators>
__device__ __forceinline__ void write_tile(const EpilogueArgs& e, Shared<float> stage, int rows, const WarpTile& tile,
                                           const ExtraRuns<T, Traits>& extra, const WarpRows& warp_rows, Accumulators&& value) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  int told = -1;
#pragma unroll 1
  for (int slab = 0; slab < kSlabs; ++slab) {
    extra.fetch(e, rows, tile, slab + 1, kSlabs);
#pragma unroll
    for (int s = 0; s < kSlabs; ++s)
      if (s == slab) stage_slab(stage, [&](int j, int element) { return value(s, j, element); });
    extra.arrive(e);
    __syncwarp();
#pragma unroll 1
    for (int pass = 0; pass < kPasses; ++pass) {
      const int within = 4 * pass + lane / 8;
      const int row = tile.slab_row(slab) + within, column = tile.slab_column(slab) + lane % 8 * kRun;
      float v[kRun];
      staged_run(stage, within, lane % 8, v);
      const int count = row < rows ? e.n - column : 0;
      if (Traits::kSteps && e.kind == Epilogue::step_linf) {
        step_run<T>(e, whole_runs<Traits>(e), row, column, count, v, told);
        continue;
      }
      if constexpr (Traits::kQuantised) {
        if (count > 0) scale_run<Traits>(e, row, column, count, v);
      }
      if constexpr (Traits::kRich) {
        if (e.norm_statistics != nullptr) {
          const RowFactors of_row = warp_rows.of(slab / tile.across, within);
          if (e.kind == Epilogue::norm_backward)
            norm_backward_run<T>(of_row, extra.take_second(e, row, column, count, pass), v);
          else if (count > 0)
            normalise_run<Traits>(e, column, count, of_row, v);
        }
      }
      const bool gated = Traits::kRich && e.kind == Epilogue::swiglu_backward;
      const RawRun<T> raw = extra.take(e, row, column, gated ? 2 * count : count, slab, pass);
      float dot = 0;
      if (gated) {
        const RawRun<T> high = extra.take_second(e, row, column, 2 * count - kRun, pass);
        if (count > 0) gated_backward<T, 0, Traits>(e, row, 2 * column, 2 * count, v, raw, dot);
        if (count > 0) gated_backward<T, kRun / 2, Traits>(e, row, 2 * column + kRun, 2 * count - kRun, v, high, dot);
      } else if (count > 0) {
        finish_run<T, Traits>(e, row, column, v, raw, dot);
      }
      if constexpr (Traits::kRich) {
        if (extra.reads_two(e)) extra.fetch_two(e, rows, tile, slab + 1, kSlabs, pass);
        if (e.statistics != nullptr) emit_statistics<T, Traits::kWholeRuns>(e, row, column, count, pack_run(v, static_cast<const T*>(nullptr)));
        if (e.dots != nullptr && e.kind != Epilogue::norm_backward) emit_dot(e, row, column, count, dot);
      }
    }
    __syncwarp();
  }
}

}  // namespace
}  // namespace signstep::kernels
