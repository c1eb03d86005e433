// Strided copies, from and to any arrangement: slices, concatenations, permutations of axes. Elements keep their bits unless the two types
// differ. Three ways: whole runs of up to 16 bytes, a tile turned round in shared memory, element by element.
#include <algorithm>

#include "element.cuh"
#include "walk.h"

namespace signstep::kernels {
namespace {

constexpr int kBlock = 256;
constexpr int kTile = 32;
constexpr int kIn = 0, kOut = 1;

template <class In, class Out>
__global__ void __launch_bounds__(kBlock) copy_elements(const In* in, Out* out, const Walk<2> walk) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x;
  if (index >= walk.count) return;
  std::int64_t at[2];
  walk.offsets(index, at);
  out[at[kOut]] = converted<Out>(in[at[kIn]]);
}

// in[row, column] at row * row_stride + column, out[column, row] at column * column_stride + row, for every place of the other axes.
struct Turn {
  std::int64_t rows, columns, row_stride, column_stride;
  Divisor across, tiles;  // tiles beside one another along the columns; tiles of one place
  bool wide;
  Walk<2> others;
};

template <class In, class Out>
__global__ void __launch_bounds__(kBlock) copy_turned(const In* in, Out* out, const Turn turn) {
  const Shared<In> tile = shared_cast<In>(dynamic_shared());  // [kTile][kTile + 1]: columns of it fall on different banks
  const std::int64_t block = blockIdx.x, place = turn.tiles.quotient(block, turn.wide), within = block - place * turn.tiles.divisor;
  const std::int64_t down = turn.across.quotient(within, turn.wide);
  const std::int64_t row0 = down * kTile, column0 = (within - down * turn.across.divisor) * kTile;
  std::int64_t at[2];
  turn.others.offsets(place, at);
  const int x = static_cast<int>(threadIdx.x) % kTile, y0 = static_cast<int>(threadIdx.x) / kTile;
#pragma unroll
  for (int y = y0; y < kTile; y += kBlock / kTile) {
    const std::int64_t row = row0 + y, column = column0 + x;
    if (row < turn.rows && column < turn.columns) tile[y * (kTile + 1) + x] = in[at[kIn] + row * turn.row_stride + column];
  }
  __syncthreads();
#pragma unroll
  for (int y = y0; y < kTile; y += kBlock / kTile) {
    const std::int64_t row = row0 + x, column = column0 + y;
    if (row < turn.rows && column < turn.columns) {
      out[at[kOut] + column * turn.column_stride + row] = converted<Out>(static_cast<In>(tile[x * (kTile + 1) + y]));
    }
  }
}

template <class In, class Out>
void copy_as(const void* from, void* to, const Axes<2>& axes, rt::Stream stream) {
  const In* in = static_cast<const In*>(from);
  Out* out = static_cast<Out*>(to);
  // Below 8 elements on a side a tile is mostly empty.
  int turned = 0;
  if (axes.strides[kOut][0] == 1 && axes.strides[kIn][0] != 1 && axes.dims[0] >= 8) {
    for (int i = 1; i < axes.rank; i++) {
      if (axes.strides[kIn][i] == 1 && axes.dims[i] >= 8) turned = i;
    }
  }
  if (turned == 0) {
    const Walk<2> walk(axes);
    launch("copy", copy_elements<In, Out>, dim3(blocks_for(walk.count, kBlock)), dim3(kBlock), 0, stream, in, out, walk);
    return;
  }
  Turn turn = {};
  turn.rows = axes.dims[0], turn.columns = axes.dims[turned];
  turn.row_stride = axes.strides[kIn][0], turn.column_stride = axes.strides[kOut][turned];
  turn.others = Walk<2>(axes.without(turned).without(0));
  const std::int64_t across = (turn.columns + kTile - 1) / kTile, tiles = across * ((turn.rows + kTile - 1) / kTile);
  turn.across = Divisor(across);
  turn.tiles = Divisor(tiles);
  turn.wide = tiles * turn.others.count >= (std::int64_t{1} << 31);
  require(!turn.wide, "copy", "more than 2^31 tiles");
  launch("copy_turned", copy_turned<In, Out>, dim3(static_cast<unsigned>(tiles * turn.others.count)), dim3(kBlock),
         kTile * (kTile + 1) * sizeof(In), stream, in, out, turn);
}

// The largest power of two up to 16 bytes in which both arrays can be moved: the runs of the fastest axis, every other stride and both
// addresses are multiples of it.
std::size_t unit_bytes(const void* in, const void* out, const Axes<2>& axes, std::size_t element) {
  if (axes.strides[kIn][0] != 1 || axes.strides[kOut][0] != 1) return element;
  auto bits = static_cast<std::uint64_t>(axes.dims[0]) * element | reinterpret_cast<std::uintptr_t>(in) |
              reinterpret_cast<std::uintptr_t>(out) | 16;
  for (int i = 1; i < axes.rank; i++) {
    for (int o = 0; o < 2; o++) bits |= static_cast<std::uint64_t>(axes.strides[o][i]) * element;
  }
  return static_cast<std::size_t>(bits & (~bits + 1));
}

void copy_bits(const void* in, void* out, Axes<2> axes, std::size_t element, rt::Stream stream) {
  const std::size_t bytes = unit_bytes(in, out, axes, element);
  const auto merged = static_cast<std::int64_t>(bytes / element);
  if (merged > 1) {
    axes.dims[0] /= merged;
    for (int i = 1; i < axes.rank; i++) {
      for (int o = 0; o < 2; o++) axes.strides[o][i] /= merged;
    }
  }
  switch (bytes) {
    case 2: return copy_as<std::uint16_t, std::uint16_t>(in, out, axes, stream);
    case 4: return copy_as<std::uint32_t, std::uint32_t>(in, out, axes, stream);
    case 8: return copy_as<uint2, uint2>(in, out, axes, stream);
    default: return copy_as<uint4, uint4>(in, out, axes, stream);
  }
}

}  // namespace

void copy(const Copy& args, rt::Stream stream) {
  using program::ElementType;
  require(args.rank >= 0 && args.rank <= kMaxRank, "copy", "more than 6 axes");
  require(is_number(args.in) == is_number(args.out), "copy", "int32 on one side only");
  // Nothing is added up, so the axes may be walked in any order: neighbours in `out` go to neighbouring threads.
  int order[kMaxRank];
  for (int i = 0; i < args.rank; i++) order[i] = args.rank - 1 - i;
  const auto step = [&](int i) { return args.out_strides[i] < 0 ? -args.out_strides[i] : args.out_strides[i]; };
  std::stable_sort(order, order + args.rank, [&](int a, int b) { return args.dims[a] != 1 && (args.dims[b] == 1 || step(a) < step(b)); });
  Axes<2> axes;
  for (int i = 0; i < args.rank; i++) axes.push(args.dims[order[i]], {args.in_strides[order[i]], args.out_strides[order[i]]});
  axes.finish();
  if (axes.count() == 0) return;

  const std::size_t in_bytes = bytes_of(args.precision, args.in.type), out_bytes = bytes_of(args.precision, args.out.type);
  const char* in = static_cast<const char*>(args.in.data) + args.in_offset * static_cast<std::int64_t>(in_bytes);
  char* out = static_cast<char*>(args.out.data) + args.out_offset * static_cast<std::int64_t>(out_bytes);
  if (in_bytes == out_bytes) return copy_bits(in, out, axes, in_bytes, stream);
  with_element(args.precision, [&]<class T>(Element<T>) {
    if constexpr (sizeof(T) == 2) {
      if (in_bytes == 4) return copy_as<float, T>(in, out, axes, stream);
      copy_as<T, float>(in, out, axes, stream);
    }
  });
}

}  // namespace signstep::kernels
