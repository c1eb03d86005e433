// The statistics of a folded LayerNorm (kernels.h, RowNorm) of rows that no product has made: eight lanes to 64 columns, a warp to 256.
#include "element.cuh"
#include "rows.cuh"

namespace signstep::kernels {
namespace {

constexpr int kLanes = 8, kEach = kStatisticsColumns / kLanes;

__device__ __forceinline__ float sum_of_lanes(float value) {
#pragma unroll
  for (int distance = 1; distance < kLanes; distance *= 2) value += __shfl_xor_sync(~0u, value, distance);
  return value;
}

// One task: 64 columns of a row. Tasks of a row follow each other.
template <class T, bool kWideRows>
__global__ void __launch_bounds__(kRowBlock) row_statistics_kernel(const RowStatistics args, std::int32_t parts) {
  const std::int64_t task = (static_cast<std::int64_t>(blockIdx.x) * kRowBlock + static_cast<std::int32_t>(threadIdx.x)) / kLanes;
  const std::int64_t row = task / parts;
  const std::int32_t part = static_cast<std::int32_t>(task % parts), lane = static_cast<std::int32_t>(threadIdx.x) % kLanes;
  const std::int32_t column = part * kStatisticsColumns + lane * kEach;
  const bool mine = row < live_rows(args.live, args.rows);
  const std::int32_t count = mine ? args.columns - column : 0;
  const T* from = static_cast<const T*>(args.x) + (mine ? row : 0) * args.columns + column;
  float v[kEach] = {};
  if (kWideRows) {
    if (count > 0) load(from, v);
  } else {
#pragma unroll
    for (int i = 0; i < kEach; ++i) v[i] = i < count ? to_float(from[i]) : 0.0f;
  }
  float mean = 0;
  if (!args.rms) {
#pragma unroll
    for (const float value : v) mean += value;
    const std::int32_t left = args.columns - part * kStatisticsColumns;
    mean = sum_of_lanes(mean) / static_cast<float>(left < kStatisticsColumns ? left : kStatisticsColumns);
  }
  float squares = 0;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const float apart = i < count ? v[i] - mean : 0.0f;
    squares = fmaf(apart, apart, squares);
  }
  squares = sum_of_lanes(squares);
  if (mine && lane == 0) reinterpret_cast<float2*>(args.statistics)[task] = make_float2(mean, squares);
}

}  // namespace

void row_statistics(const RowStatistics& args, rt::Stream stream) {
  require(args.columns > 0, "row_statistics", "rows without columns");
  if (args.rows == 0) return;
  const std::int32_t parts = statistics_parts(args.columns);
  const unsigned blocks = blocks_for(args.rows * parts, kRowBlock / kLanes);
  with_element(args.precision, [&]<class T>(Element<T>) {
    if (aligned16(args.x) && args.columns % kEach == 0)
      launch("row_statistics", row_statistics_kernel<T, true>, dim3(blocks), dim3(kRowBlock), 0, stream, args, parts);
    else
      launch("row_statistics", row_statistics_kernel<T, false>, dim3(blocks), dim3(kRowBlock), 0, stream, args, parts);
  });
}

}  // namespace signstep::kernels
