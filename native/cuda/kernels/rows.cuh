// Rows of a matrix, each on chip: a row is spread over the registers of one or several warps, so that memory is read once. Used by
// LayerNorm and softmax, forward and backward.
#pragma once

#include "element.cuh"

namespace signstep::kernels {

inline constexpr int kRowBlock = 256;  // threads of a block, at most
inline constexpr int kRowWarps = kRowBlock / 32;
inline constexpr int kScalarChunks = 8;  // elements a thread holds where 16-byte accesses are impossible

// One, two or three 16-byte chunks a thread: 192, 384 and 768 columns of 16 bits are then one warp a row with at most a quarter of its
// lanes idle, and 24 values a thread leave room for three rows of operands in the backward kernels.
struct RowShape {
  std::int32_t columns;
  std::int32_t warps;   // a row
  std::int32_t chunks;  // a thread; 0: the row does not fit on chip
  bool wide;            // chunks are 16 bytes, not one element
  std::int32_t rows_per_block() const { return kRowWarps / warps; }
  unsigned threads() const { return static_cast<unsigned>(32 * warps * rows_per_block()); }
};

inline RowShape row_shape(std::int32_t columns, std::size_t element_bytes, bool aligned) {
  const auto width = static_cast<std::int32_t>(16 / element_bytes);
  const bool wide = aligned && columns % width == 0;
  const std::int32_t most = wide ? 3 : kScalarChunks, units = wide ? columns / width : columns;
  const std::int32_t warps = (units + 32 * most - 1) / (32 * most);
  if (warps > kRowWarps) return {columns, kRowWarps, 0, false};
  return {columns, warps, wide ? (units + 32 * warps - 1) / (32 * warps) : kScalarChunks, wide};
}

inline constexpr std::size_t kRowShared = 4 * kRowWarps * sizeof(float);

// Where a thread stands: its row and its place among the threads of that row.
struct RowThread {
  std::int64_t row;
  std::int32_t place, threads, warps;
};

__device__ __forceinline__ RowThread row_thread(std::int32_t warps) {
  const std::int32_t threads = 32 * warps, thread = static_cast<std::int32_t>(threadIdx.x);
  const std::int32_t rows = static_cast<std::int32_t>(blockDim.x) / threads;
  return {static_cast<std::int64_t>(blockIdx.x) * rows + thread / threads, thread % threads, threads, warps};
}

// The number of rows that are computed.
__device__ __forceinline__ std::int64_t live_rows(const Live& live, std::int64_t rows) {
  if (live.count == nullptr || live.rows_per_image == 0) return rows;
  const std::int64_t alive = static_cast<std::int64_t>(*live.count) * live.rows_per_image;
  return alive < rows ? alive : rows;
}

struct Sum {
  static __device__ __forceinline__ float combine(float a, float b) { return a + b; }
};
struct Maximum {
  static __device__ __forceinline__ float combine(float a, float b) { return fmaxf(a, b); }
};

template <class Combine>
__device__ __forceinline__ float across_warp(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) value = Combine::combine(value, __shfl_xor_sync(0xFFFFFFFFu, value, distance));
  return value;
}

// Combines N values each over the threads of a row; every thread gets the results. `slots` [N * kRowWarps] must not be in use by another
// reduction of the same block: rows of several warps meet at one barrier only.
template <class Combine, int N>
__device__ __forceinline__ void across_row(float (&values)[N], const RowThread& thread, Shared<float> slots) {
#pragma unroll
  for (int n = 0; n < N; n++) values[n] = across_warp<Combine>(values[n]);
  if (thread.warps == 1) return;
  const int warp = static_cast<int>(threadIdx.x) / 32, first = warp - thread.place / 32;
  if (threadIdx.x % 32 == 0) {
#pragma unroll
    for (int n = 0; n < N; n++) slots[n * kRowWarps + warp] = values[n];
  }
  __syncthreads();
#pragma unroll
  for (int n = 0; n < N; n++) {
    values[n] = slots[n * kRowWarps + first];
    for (int other = 1; other < thread.warps; other++) values[n] = Combine::combine(values[n], slots[n * kRowWarps + first + other]);
  }
}

template <class Combine>
__device__ __forceinline__ float across_row(float value, const RowThread& thread, Shared<float> slots) {
  float values[1] = {value};
  across_row<Combine>(values, thread, slots);
  return values[0];
}

// Which columns a thread holds: chunk c starts at column(c); a chunk lies within the row or wholly beyond it.
template <class T, bool Wide, int Chunks>
struct RowSpread {
  static constexpr int width = Wide ? kWide<T> : 1;
  using Values = float[Chunks][width];

  static __device__ __forceinline__ std::int32_t column(const RowThread& thread, int chunk) {
    return (chunk * thread.threads + thread.place) * width;
  }
  // Columns beyond the row get `beyond`.
  static __device__ __forceinline__ void load_row(const T* row, std::int32_t columns, const RowThread& thread, float beyond, Values& to) {
#pragma unroll
    for (int c = 0; c < Chunks; c++) {
      if (column(thread, c) < columns) {
        load(row + column(thread, c), to[c]);
      } else {
#pragma unroll
        for (int i = 0; i < width; i++) to[c][i] = beyond;
      }
    }
  }
  static __device__ __forceinline__ void store_row(T* row, std::int32_t columns, const RowThread& thread, const Values& from) {
#pragma unroll
    for (int c = 0; c < Chunks; c++) {
      if (column(thread, c) < columns) store(row + column(thread, c), from[c]);
    }
  }
};

// Calls body with the RowSpread<T, …> of a shape that fits on chip.
template <class T, class Body>
void with_spread(const RowShape& shape, Body&& body) {
  if (!shape.wide) return body(Element<RowSpread<T, false, kScalarChunks>>{});
  switch (shape.chunks) {
    case 1: return body(Element<RowSpread<T, true, 1>>{});
    case 2: return body(Element<RowSpread<T, true, 2>>{});
    default: return body(Element<RowSpread<T, true, 3>>{});
  }
}

}  // namespace signstep::kernels
