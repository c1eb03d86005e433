// The rows of the images that are still under attack move to the front of an array, in place.
#include "element.cuh"

namespace signstep::kernels {
namespace {

constexpr int kThreads = 256, kUnroll = 8;
constexpr std::uint32_t kMostColumns = 64;

// A block owns `columns` columns and walks the rows in order, kThreads / columns * kUnroll at a time: all of them are read before any is
// written, and a row never comes from before its destination, so nothing is overwritten that has yet to be read.
template <class Unit>
__global__ void __launch_bounds__(kThreads) keep_rows_kernel(Unit* data, std::int64_t units, std::uint32_t columns, const std::int32_t* rows,
                                                             std::int32_t count) {
  const std::uint32_t thread = threadIdx.x, lanes = kThreads / columns;  // rows side by side
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * columns + thread % columns;
  const auto lane = static_cast<std::int32_t>(thread / columns);
  const auto step = static_cast<std::int32_t>(lanes);
  for (std::int32_t base = 0; base < count; base += step * kUnroll) {
    Unit held[kUnroll];
    std::int32_t from[kUnroll];
#pragma unroll
    for (int i = 0; i < kUnroll; i++) {
      const std::int32_t row = base + i * step + lane;
      from[i] = row < count && column < units ? rows[row] : row;
      if (from[i] != row) held[i] = data[from[i] * units + column];
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kUnroll; i++) {
      const std::int32_t row = base + i * step + lane;
      if (from[i] != row) data[row * units + column] = held[i];
    }
    __syncthreads();
  }
}

template <class Unit>
void launch_keep_rows(void* data, std::int64_t units, const std::int32_t* rows, std::int32_t count, rt::Stream stream) {
  std::uint32_t columns = 1;
  while (columns < kMostColumns && columns < units) columns *= 2;
  const std::int64_t blocks = (units + columns - 1) / columns;
  require(blocks <= 0x7FFFFFFF, "keep_rows", "rows are too long");
  launch("keep_rows", keep_rows_kernel<Unit>, dim3(static_cast<unsigned>(blocks)), dim3(kThreads), 0, stream, static_cast<Unit*>(data), units,
         columns, rows, count);
}

}  // namespace

void keep_rows(void* data, std::int64_t elements, const std::int32_t* rows, std::int32_t count, rt::Stream stream) {
  require(elements >= 0 && count >= 0, "keep_rows", "expected no negative number of elements or rows");
  if (elements == 0 || count == 0) return;
  if (elements % 4 == 0 && aligned16(data))
    launch_keep_rows<uint4>(data, elements / 4, rows, count, stream);
  else
    launch_keep_rows<std::uint32_t>(data, elements, rows, count, stream);
}

}  // namespace signstep::kernels
