// LayerNorm and RMSNorm without gain and bias (the lowering folds those into the next product): y = (x - mean) * rstd.
#include "rows.cuh"

namespace signstep::kernels {
namespace {

__device__ __forceinline__ float inverse_deviation(float squares, const LayerNorm& args) {
  return 1.0f / sqrtf(squares / static_cast<float>(args.columns) + args.epsilon);
}

// One row in the registers of args' warps: x is read once, the mean is taken before the deviations, so that a row whose mean is large
// against its deviation loses nothing.
template <class T, class Spread>
__global__ void __launch_bounds__(kRowBlock) layer_norm_on_chip(const LayerNorm args, const RowShape shape) {
  const std::int64_t rows = live_rows(args.live, args.rows);
  const RowThread thread = row_thread(shape.warps);
  const bool mine = thread.row < rows;
  if (!mine && thread.warps == 1) return;
  const Shared<float> slots = shared_cast<float>(dynamic_shared());

  const std::int32_t columns = mine ? args.columns : 0;
  typename Spread::Values x;
  Spread::load_row(static_cast<const T*>(args.x) + thread.row * args.columns, columns, thread, 0.0f, x);

  float mean = 0;
  if (!args.rms) {
    float sum = 0;
#pragma unroll
    for (auto& chunk : x) {
#pragma unroll
      for (const float value : chunk) sum += value;
    }
    mean = across_row<Sum>(sum, thread, slots) / static_cast<float>(args.columns);
  }

  float squares = 0;
#pragma unroll
  for (int c = 0; c < static_cast<int>(sizeof(x) / sizeof(x[0])); c++) {
    if (Spread::column(thread, c) >= columns) continue;
#pragma unroll
    for (float& value : x[c]) {
      value -= mean;
      squares = fmaf(value, value, squares);
    }
  }
  const float rstd = inverse_deviation(across_row<Sum>(squares, thread, slots + kRowWarps), args);

#pragma unroll
  for (auto& chunk : x) {
#pragma unroll
    for (float& value : chunk) value *= rstd;
  }
  Spread::store_row(static_cast<T*>(args.y) + thread.row * args.columns, columns, thread, x);
  if (mine && thread.place == 0 && args.rstd != nullptr) args.rstd[thread.row] = rstd;
}

// A block a row, which is read three times: rows too long for the registers.
template <class T>
__global__ void __launch_bounds__(kRowBlock) layer_norm_long(const LayerNorm args) {
  if (static_cast<std::int64_t>(blockIdx.x) >= live_rows(args.live, args.rows)) return;
  const RowThread thread = row_thread(kRowWarps);
  const Shared<float> slots = shared_cast<float>(dynamic_shared());
  const T* x = static_cast<const T*>(args.x) + thread.row * args.columns;
  T* y = static_cast<T*>(args.y) + thread.row * args.columns;

  float mean = 0;
  if (!args.rms) {
    float sum = 0;
    for (std::int32_t i = thread.place; i < args.columns; i += thread.threads) sum += to_float(x[i]);
    mean = across_row<Sum>(sum, thread, slots) / static_cast<float>(args.columns);
  }
  float squares = 0;
  for (std::int32_t i = thread.place; i < args.columns; i += thread.threads) {
    const float deviation = to_float(x[i]) - mean;
    squares = fmaf(deviation, deviation, squares);
  }
  const float rstd = inverse_deviation(across_row<Sum>(squares, thread, slots + kRowWarps), args);
  for (std::int32_t i = thread.place; i < args.columns; i += thread.threads) y[i] = from_float<T>((to_float(x[i]) - mean) * rstd);
  if (thread.place == 0 && args.rstd != nullptr) args.rstd[thread.row] = rstd;
}

}  // namespace

void layer_norm(const LayerNorm& args, rt::Stream stream) {
  require(args.columns > 0, "layer_norm", "rows without columns");
  if (args.rows == 0) return;
  with_element(args.precision, [&]<class T>(Element<T>) {
    const RowShape shape = row_shape(args.columns, sizeof(T), aligned16(args.x) && aligned16(args.y));
    if (shape.chunks == 0) {
      launch("layer_norm_long", layer_norm_long<T>, dim3(static_cast<unsigned>(args.rows)), dim3(kRowBlock), kRowShared, stream, args);
      return;
    }
    with_spread<T>(shape, [&]<class Spread>(Element<Spread>) {
      launch("layer_norm", layer_norm_on_chip<T, Spread>, dim3(blocks_for(args.rows, shape.rows_per_block())), dim3(shape.threads()),
             kRowShared, stream, args, shape);
    });
  });
}

}  // namespace signstep::kernels
