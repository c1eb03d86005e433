// Rows as e4m3 with a scale each: what products in e4m3 multiply.
#include "rows.cuh"

namespace signstep::kernels {
namespace {

// Rows below this are divided by it instead of by their own greatest: 448 / it is still finite.
constexpr float kLeast = 0x1p-110f;

__device__ __forceinline__ std::int64_t stored_row(const RowMap& map, std::int64_t row) {
  return map.group == 0 ? row : row / map.group * map.stride + map.offset + row % map.group;
}

struct Scaling {
  float scale, inverse;
};

// An infinity makes the inverse 0 and itself NaN, so that the row says that it has one.
__device__ __forceinline__ Scaling scaling_of(float greatest) {
  if (!(greatest > 0.0f)) return {0.0f, 0.0f};
  greatest = fmaxf(greatest, kLeast);
  return {__fdiv_rn(greatest, kLargestE4m3), __fdiv_rn(kLargestE4m3, greatest)};
}

// The elements of one 16-byte chunk.
template <int N>
__device__ __forceinline__ void store_e4m3(std::uint8_t* to, const float (&v)[N], float inverse) {
  static_assert(N == 4 || N == 8);
  const std::uint32_t low = pack4_e4m3(v[0] * inverse, v[1] * inverse, v[2] * inverse, v[3] * inverse);
  if constexpr (N == 4)
    *reinterpret_cast<std::uint32_t*>(to) = low;
  else
    *reinterpret_cast<uint2*>(to) = make_uint2(low, pack4_e4m3(v[4] * inverse, v[5] * inverse, v[6] * inverse, v[7] * inverse));
}

template <class T, class Spread>
__global__ void __launch_bounds__(kRowBlock) quantise_rows_on_chip(const QuantiseRows args, const RowShape shape) {
  const RowThread thread = row_thread(shape.warps);
  const bool mine = thread.row < live_rows(args.live, args.rows);
  if (!mine && thread.warps == 1) return;

  const std::int32_t columns = mine ? args.columns : 0;
  typename Spread::Values x;
  Spread::load_row(static_cast<const T*>(args.in) + (mine ? stored_row(args.in_map, thread.row) * args.columns : 0), columns, thread, 0.0f, x);
  float greatest = 0;
#pragma unroll
  for (const auto& chunk : x) {
#pragma unroll
    for (const float value : chunk) greatest = fmaxf(greatest, fabsf(value));  // passes over a NaN, which stays one as an element
  }
  const Scaling scaling = scaling_of(across_row<Maximum>(greatest, thread, shared_cast<float>(dynamic_shared())));
  if (!mine) return;
  std::uint8_t* const row = static_cast<std::uint8_t*>(args.out) + thread.row * args.columns;
#pragma unroll
  for (int c = 0; c < static_cast<int>(sizeof(x) / sizeof(x[0])); c++)
    if (Spread::column(thread, c) < columns) store_e4m3(row + Spread::column(thread, c), x[c], scaling.inverse);
  if (thread.place == 0) args.scale[thread.row] = scaling.scale;
}

// A block a row, which is read twice: rows too long for the registers.
template <class T>
__global__ void __launch_bounds__(kRowBlock) quantise_rows_long(const QuantiseRows args) {
  const RowThread thread = row_thread(kRowWarps);
  if (thread.row >= live_rows(args.live, args.rows)) return;
  const T* const in = static_cast<const T*>(args.in) + stored_row(args.in_map, thread.row) * args.columns;
  float greatest = 0, x[kWide<T>];
  for (std::int32_t i = thread.place * kWide<T>; i < args.columns; i += thread.threads * kWide<T>) {
    load(in + i, x);
#pragma unroll
    for (const float value : x) greatest = fmaxf(greatest, fabsf(value));
  }
  const Scaling scaling = scaling_of(across_row<Maximum>(greatest, thread, shared_cast<float>(dynamic_shared())));
  std::uint8_t* const row = static_cast<std::uint8_t*>(args.out) + thread.row * args.columns;
  for (std::int32_t i = thread.place * kWide<T>; i < args.columns; i += thread.threads * kWide<T>) {
    load(in + i, x);
    store_e4m3(row + i, x, scaling.inverse);
  }
  if (thread.place == 0) args.scale[thread.row] = scaling.scale;
}

template <class T>
void launch_quantise(const QuantiseRows& args, rt::Stream stream) {
  const RowShape shape = row_shape(args.columns, sizeof(T), true);
  const auto on_chip = [&]<class Spread>(Element<Spread>) {
    launch("quantise_rows", quantise_rows_on_chip<T, Spread>, dim3(blocks_for(args.rows, shape.rows_per_block())), dim3(shape.threads()), kRowShared,
           stream, args, shape);
  };
  switch (shape.chunks) {
    case 0:
      return launch("quantise_rows_long", quantise_rows_long<T>, dim3(static_cast<unsigned>(args.rows)), dim3(kRowBlock), kRowShared, stream, args);
    case 1: return on_chip(Element<RowSpread<T, true, 1>>{});
    case 2: return on_chip(Element<RowSpread<T, true, 2>>{});
    default: return on_chip(Element<RowSpread<T, true, 3>>{});
  }
}

}  // namespace

void quantise_rows(const QuantiseRows& args, rt::Stream stream) {
  require(has_e4m3(rt::this_device().compute_capability), "quantise_rows", "this device has no e4m3");
  require(args.columns > 0 && args.columns % 16 == 0, "quantise_rows", "expected columns in multiples of 16");
  require(aligned16(args.in) && aligned16(args.out), "quantise_rows", "expected matrices that begin on 16 bytes");
  require(args.precision != Precision::fp16, "quantise_rows", "expected bf16 or float32");
  if (args.rows == 0) return;
  if (args.precision == Precision::bf16)
    launch_quantise<bf16>(args, stream);
  else
    launch_quantise<float>(args, stream);
}

}  // namespace signstep::kernels
