// The rows of the images that are still under attack move to the front of their arrays, in place. One launch for all arrays: most of them
// are vectors, and where no image has left there is nothing to do but to see it.
#include "element.cuh"

namespace signstep::kernels {
namespace {

constexpr int kThreads = 256, kUnroll = 8;
constexpr std::uint32_t kMostColumns = 64;

// How an array is moved: rows of `units` units of `width` bytes, `columns` of them a block.
struct Moved {
  void* data;
  std::int64_t units;
  std::uint32_t width, columns;

  std::int64_t blocks() const { return (units + columns - 1) / columns; }
};
struct MovedArrays {
  Moved array[KeptRows::kMost];
};

// A block owns some columns and walks the rows in order, kThreads / columns * kUnroll at a time: all of them are read before any is
// written, and a row never comes from before its destination, so nothing is overwritten that has yet to be read.
template <class Unit>
__device__ __forceinline__ void move_rows(const Moved& moved, const std::int32_t* rows, std::int32_t count) {
  Unit* const data = static_cast<Unit*>(moved.data);
  const std::uint32_t thread = threadIdx.x, lanes = kThreads / moved.columns;  // rows side by side
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * moved.columns + thread % moved.columns;
  const auto lane = static_cast<std::int32_t>(thread / moved.columns);
  const auto step = static_cast<std::int32_t>(lanes);
  for (std::int32_t base = 0; base < count; base += step * kUnroll) {
    Unit held[kUnroll];
    std::int32_t from[kUnroll];
#pragma unroll
    for (int i = 0; i < kUnroll; i++) {
      const std::int32_t row = base + i * step + lane;
      from[i] = row < count && column < moved.units ? rows[row] : row;
      if (from[i] != row) held[i] = data[from[i] * moved.units + column];
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kUnroll; i++) {
      const std::int32_t row = base + i * step + lane;
      if (from[i] != row) data[row * moved.units + column] = held[i];
    }
    __syncthreads();
  }
}

__global__ void __launch_bounds__(kThreads) keep_rows_kernel(const __grid_constant__ MovedArrays arrays, const std::int32_t* rows,
                                                             const std::int32_t* live) {
  const Moved& moved = arrays.array[blockIdx.y];
  const std::int32_t count = *live;
  // Ascending rows end at their own number only if none is left out.
  if (count == 0 || rows[count - 1] == count - 1) return;
  if (static_cast<std::int64_t>(blockIdx.x) * moved.columns >= moved.units) return;
  switch (moved.width) {
    case 16: return move_rows<uint4>(moved, rows, count);
    case 4: return move_rows<std::uint32_t>(moved, rows, count);
    default: return move_rows<std::uint16_t>(moved, rows, count);
  }
}

}  // namespace

void keep_rows(const KeptRows& kept, rt::Stream stream) {
  require(kept.size >= 0 && kept.size <= KeptRows::kMost, "keep_rows", "too many arrays");
  if (kept.size == 0) return;
  MovedArrays arrays{};
  std::int64_t blocks = 1;
  for (int i = 0; i < kept.size; i++) {
    const KeptRows::Array& array = kept.arrays[i];
    require(array.bytes > 0 && array.bytes % 2 == 0, "keep_rows", "expected rows of an even number of bytes");
    Moved& moved = arrays.array[i];
    moved.data = array.data;
    moved.width = array.bytes % 16 == 0 && aligned16(array.data) ? 16 : array.bytes % 4 == 0 ? 4 : 2;
    moved.units = array.bytes / moved.width;
    moved.columns = 1;
    while (moved.columns < kMostColumns && moved.columns < moved.units) moved.columns *= 2;
    if (moved.blocks() > blocks) blocks = moved.blocks();
  }
  require(blocks <= 0x7FFFFFFF, "keep_rows", "rows are too long");
  launch("keep_rows", keep_rows_kernel, dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(kept.size)), dim3(kThreads), 0, stream, arrays,
         kept.rows, kept.count);
}

}  // namespace signstep::kernels
