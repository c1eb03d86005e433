// The epilogues of gemm(), once for both matrix cores. A core holds its product in registers, in the layout of mma fragments: 16 rows by 64
// columns a warp and slab. Each warp passes one slab at a time through 4 KB of shared memory of its own and gets back runs of 8 columns,
// so that global memory is read and written in whole 128-byte lines.
#pragma once

#include "../ptx/device.h"
#include "gemm_activation.cuh"
#include "gemm_args.cuh"
#include "gemm_epilogue_step.cuh"
#include "gemm_run.cuh"

namespace signstep::kernels {
namespace {

using namespace signstep::device;

constexpr int kSlabRows = 16, kSlabColumns = 64;
constexpr int kStageBytes = kSlabRows * kSlabColumns * 4;  // a warp
constexpr int kPasses = 4;                                 // 4 rows of 8 lanes each

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

// The tile of one warp: slab s begins at (row + s * row_step, column + s * column_step) of the logical matrix.
struct WarpTile {
  int row, column, row_step, column_step;
};

// What an epilogue reads besides the product, fetched a slab ahead: the latency of global memory (about 600 cycles) is paid once a tile,
// and not at all where it is fetched before the product is computed.
template <class T>
struct ExtraRuns {
  RawRun<T> pass[kPasses];

  __device__ __forceinline__ static RawRun<T> fetch(const EpilogueArgs& e, int rows, int row, int column) {
    if (e.extra == nullptr || row >= rows || column >= e.n) return {};
    const T* from = static_cast<const T*>(e.extra) + static_cast<std::int64_t>(mapped_row(e.out_map, row)) * e.n + column;
    return load_run(from, e.n - column, e.vector);
  }
  __device__ __forceinline__ void fetch_slab(const EpilogueArgs& e, int rows, const WarpTile& tile) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int p = 0; p < kPasses; ++p) pass[p] = fetch(e, rows, tile.row + 4 * p + lane / 8, tile.column + lane % 8 * kRun);
  }
};

__device__ __forceinline__ bool is_backward(Epilogue kind) {
  return kind == Epilogue::gelu_erf_backward || kind == Epilogue::gelu_tanh_backward || kind == Epilogue::quick_gelu_backward ||
         kind == Epilogue::silu_backward || kind == Epilogue::relu_backward;
}

// One switch a run, outside the loop over its elements.
__device__ __forceinline__ void activate_run(Epilogue kind, float (&v)[kRun]) {
  const auto each = [&](Epilogue fixed) {
#pragma unroll
    for (int i = 0; i < kRun; ++i) v[i] = activate(fixed, v[i]);
  };
  switch (kind) {
    case Epilogue::gelu_erf: each(Epilogue::gelu_erf); break;
    case Epilogue::gelu_tanh: each(Epilogue::gelu_tanh); break;
    case Epilogue::quick_gelu: each(Epilogue::quick_gelu); break;
    case Epilogue::silu: each(Epilogue::silu); break;
    default: each(Epilogue::relu); break;
  }
}

__device__ __forceinline__ void multiply_by_slope(Epilogue kind, float (&v)[kRun], const float (&x)[kRun]) {
  const auto each = [&](Epilogue fixed) {
#pragma unroll
    for (int i = 0; i < kRun; ++i) v[i] *= activation_slope(fixed, x[i]);
  };
  switch (kind) {
    case Epilogue::gelu_erf_backward: each(Epilogue::gelu_erf_backward); break;
    case Epilogue::gelu_tanh_backward: each(Epilogue::gelu_tanh_backward); break;
    case Epilogue::quick_gelu_backward: each(Epilogue::quick_gelu_backward); break;
    case Epilogue::silu_backward: each(Epilogue::silu_backward); break;
    default: each(Epilogue::relu_backward); break;
  }
}

// Ends one run of the product and writes it.
template <class T>
__device__ __forceinline__ void finish_run(const EpilogueArgs& e, int row, int column, float (&v)[kRun], const float (&bias)[kRun],
                                           const RawRun<T>& raw_extra) {
  const int count = e.n - column;
  const std::int64_t at = static_cast<std::int64_t>(mapped_row(e.out_map, row)) * e.n + column;
  float extra[kRun];
  unpack_run(raw_extra, extra);
  if (is_backward(e.kind)) {
    multiply_by_slope(e.kind, v, extra);
  } else {
#pragma unroll
    for (int i = 0; i < kRun; ++i) v[i] += bias[i];
    if (e.kind == Epilogue::store || e.kind == Epilogue::store_float) {
      if (e.scale != nullptr) {
        float scale[kRun];
        load_run(e.scale + column, count, e.vector, scale);
#pragma unroll
        for (int i = 0; i < kRun; ++i) v[i] *= scale[i];
      }
      if (e.table != nullptr) {
        float table[kRun];
        load_run(e.table + static_cast<std::int64_t>(row % e.out_map.group) * e.n + column, count, e.vector, table);
#pragma unroll
        for (int i = 0; i < kRun; ++i) v[i] += table[i];
      }
#pragma unroll
      for (int i = 0; i < kRun; ++i) v[i] += extra[i];
    } else {
      if (e.aux != nullptr) store_run(static_cast<T*>(e.aux) + at, count, e.vector, v);
      activate_run(e.kind, v);
    }
  }
  if (e.kind == Epilogue::store_float)
    store_run(static_cast<float*>(e.out) + at, count, e.vector, v);
  else
    store_run(static_cast<T*>(e.out) + at, count, e.vector, v);
}

// Writes kSlabs slabs of a warp's product. value(s, j, e) with constant s, j, e after unrolling: accumulators stay in registers. `extra`
// holds the first slab's. The loop over runs is not unrolled: one copy of all epilogues is about 2,000 instructions.
template <class T, int kSlabs, class Accumulators>
__device__ __forceinline__ void write_tile(const EpilogueArgs& e, Shared<float> stage, int rows, const WarpTile& tile, ExtraRuns<T>& extra,
                                           Accumulators&& value) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  int told = -1;
#pragma unroll 1
  for (int slab = 0; slab < kSlabs; ++slab) {
    const int column = tile.column + slab * tile.column_step + lane % 8 * kRun;
    float bias[kRun] = {};
    if (e.bias != nullptr && column < e.n) load_run(e.bias + column, e.n - column, e.vector, bias);
#pragma unroll
    for (int s = 0; s < kSlabs; ++s)
      if (s == slab) stage_slab(stage, [&](int j, int element) { return value(s, j, element); });
    __syncwarp();
#pragma unroll 1
    for (int pass = 0; pass < kPasses; ++pass) {
      const int within = 4 * pass + lane / 8;
      const int row = tile.row + slab * tile.row_step + within;
      float v[kRun];
      staged_run(stage, within, lane % 8, v);
      const bool inside = row < rows && column < e.n;
      if (e.kind == Epilogue::step_linf) {
        step_run<T>(e, row, column, inside ? e.n - column : 0, v, told);
        continue;
      }
      RawRun<T> raw;
#pragma unroll
      for (int p = 0; p < kPasses; ++p) {
        if (p != pass) continue;
        raw = extra.pass[p];
        if (slab + 1 < kSlabs)
          extra.pass[p] = ExtraRuns<T>::fetch(e, rows, row + tile.row_step, column + tile.column_step);
      }
      if (inside) finish_run<T>(e, row, column, v, bias, raw);
    }
    __syncwarp();
  }
}

}  // namespace
}  // namespace signstep::kernels
