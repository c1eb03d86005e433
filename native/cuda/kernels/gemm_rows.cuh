// LayerNorm folded into the products beside it, see RowNorm: what an epilogue knows of whole rows, though its tile holds a part of them.
#pragma once

#include "../ptx/device.h"
#include "gemm_args.cuh"
#include "gemm_run.cuh"
#include "gemm_tile.cuh"
#include "statistics.cuh"

namespace signstep::kernels {
namespace {

using namespace signstep::device;

static_assert(kSlabColumns == kStatisticsColumns);

struct RowFactors {
  float mean, rstd;
  float slope;  // rstd^2 * sum(dots) / n, of norm_backward
};

// The factors of a warp's rows, kRowBlocks times 16 of them, each in the registers of one lane. The partial statistics of 768 columns are 96
// bytes a row, which every tile of the row reads again from the L2 cache: 6 % of what it writes. A kernel of its own that combines them once
// would take 2 us a LayerNorm.
template <int kRowBlocks>
class WarpRows {
 public:
  // Beside the product: nothing waits for what is read here before its results are written.
  __device__ __forceinline__ void prepare(const EpilogueArgs& e, int rows, const WarpTile& tile) {
#pragma unroll
    for (int w = 0; w < kWords; ++w) mean_[w] = rstd_[w] = slope_[w] = 0.0f;
    if (e.norm_statistics == nullptr) return;
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int w = 0; w < kWords; ++w) {
      const int block = 2 * w + lane / 16, row = tile.row + block * tile.row_step + lane % 16;
      if (block >= kRowBlocks || row >= rows) continue;
      const RowFactors found = combined(e, row);
      mean_[w] = found.mean;
      rstd_[w] = found.rstd;
      slope_[w] = found.slope;
    }
  }
  // Of row `row` of block `block`; all lanes ask at once, each for a row of its own.
  __device__ __forceinline__ RowFactors of(int block, int row) const {
    const int lane = block % 2 * 16 + row;
    return {__shfl_sync(~0u, of_block(mean_, block), lane), __shfl_sync(~0u, of_block(rstd_, block), lane),
            __shfl_sync(~0u, of_block(slope_, block), lane)};
  }

 private:
  static constexpr int kWords = (kRowBlocks + 1) / 2;
  static_assert(kWords <= 2);

  // Registers cannot be indexed.
  __device__ __forceinline__ static float of_block(const float (&values)[kWords], int block) {
    const float low = values[0], high = values[kWords - 1];
    return block < 2 ? low : high;
  }
  __device__ __forceinline__ static RowFactors combined(const EpilogueArgs& e, int row) {
    const RowMoments moments = row_moments(e.norm_statistics, row, e.norm_columns, e.epsilon);
    RowFactors f{moments.mean, moments.rstd, 0.0f};
    if (e.kind == Epilogue::norm_backward) {
      const float* dots = e.dots + static_cast<std::int64_t>(row) * e.dot_parts;
      for (int part = 0; part < e.dot_parts; ++part) f.slope += dots[part];
      f.slope *= f.rstd * f.rstd / static_cast<float>(e.norm_columns);
    }
    return f;
  }

  float mean_[kWords], rstd_[kWords], slope_[kWords];
};

__device__ __forceinline__ float sum_of_row(float value) {  // over the 8 lanes that hold 64 columns of it
#pragma unroll
  for (int distance = 1; distance < 8; distance *= 2) value += __shfl_xor_sync(~0u, value, distance);
  return value;
}

__device__ __forceinline__ float element_of(const RawRun<float>& raw, int i) { return __uint_as_float(raw.word[i]); }
template <class T>
__device__ __forceinline__ float element_of(const RawRun<T>& raw, int i) {
  const float2 pair = unpack2<T>(raw.word[i / 2]);
  return i % 2 == 0 ? pair.x : pair.y;
}

// Statistics of the 64 columns that 8 lanes hold, of the values as they were stored. Called by whole warps; count <= 0: no element.
template <class T, bool kWholeRuns>
__device__ __forceinline__ void emit_statistics(const EpilogueArgs& e, int row, int column, int count, const RawRun<T>& stored) {
  const auto inside = [&](int i) { return kWholeRuns ? count > 0 : i < count; };
  float mean = 0;
  if (!e.rms) {
    const int left = e.n - column / kStatisticsColumns * kStatisticsColumns;
#pragma unroll
    for (int i = 0; i < kRun; ++i) mean += inside(i) ? element_of(stored, i) : 0.0f;
    mean = sum_of_row(mean) / static_cast<float>(left < kStatisticsColumns ? left : kStatisticsColumns);
  }
  float squares = 0;
#pragma unroll
  for (int i = 0; i < kRun; ++i) {
    const float apart = inside(i) ? element_of(stored, i) - mean : 0.0f;
    squares = fmaf(apart, apart, squares);
  }
  squares = sum_of_row(squares);
  if (count <= 0 || column % kStatisticsColumns != 0) return;
  const int parts = (e.n + kStatisticsColumns - 1) / kStatisticsColumns;
  reinterpret_cast<float2*>(e.statistics)[static_cast<std::int64_t>(mapped_row(e.out_map, row)) * parts + column / kStatisticsColumns] =
      make_float2(mean, squares);
}

// dot: this lane's share of sum(dy * (y - bias)).
__device__ __forceinline__ void emit_dot(const EpilogueArgs& e, int row, int column, int count, float dot) {
  dot = sum_of_row(dot);
  if (count <= 0 || column % kStatisticsColumns != 0) return;
  const int parts = (e.n + kStatisticsColumns - 1) / kStatisticsColumns;
  e.dots[static_cast<std::int64_t>(mapped_row(e.out_map, row)) * parts + column / kStatisticsColumns] = dot;
}

}  // namespace
}  // namespace signstep::kernels
