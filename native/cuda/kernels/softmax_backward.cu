// Gradient of softmax from its result: dx = y * (dy - sum(dy * y)).
#include "rows.cuh"

namespace signstep::kernels {
namespace {

template <class T, class Spread>
__global__ void __launch_bounds__(kRowBlock)
    softmax_backward_on_chip(const T* results, const T* gradients, T* to, const std::int64_t rows, const RowShape shape) {
  const RowThread thread = row_thread(shape.warps);
  const bool mine = thread.row < rows;
  if (!mine && thread.warps == 1) return;

  const std::int32_t columns = mine ? shape.columns : 0;
  const std::int64_t at = thread.row * shape.columns;
  typename Spread::Values y, dy;
  Spread::load_row(results + at, columns, thread, 0.0f, y);
  Spread::load_row(gradients + at, columns, thread, 0.0f, dy);
  float sum = 0;
  constexpr int kChunks = static_cast<int>(sizeof(y) / sizeof(y[0]));
#pragma unroll
  for (int c = 0; c < kChunks; c++) {
#pragma unroll
    for (int i = 0; i < Spread::width; i++) sum = fmaf(dy[c][i], y[c][i], sum);
  }
  sum = across_row<Sum>(sum, thread, shared_cast<float>(dynamic_shared()));
#pragma unroll
  for (int c = 0; c < kChunks; c++) {
#pragma unroll
    for (int i = 0; i < Spread::width; i++) dy[c][i] = y[c][i] * (dy[c][i] - sum);
  }
  Spread::store_row(to + at, columns, thread, dy);
}

// A block a row, which is read twice: rows too long for the registers.
template <class T>
__global__ void __launch_bounds__(kRowBlock)
    softmax_backward_long(const T* results, const T* gradients, T* to, const std::int32_t columns) {
  const RowThread thread = row_thread(kRowWarps);
  const std::int64_t at = thread.row * columns;
  float sum = 0;
  for (std::int32_t i = thread.place; i < columns; i += thread.threads)
    sum = fmaf(to_float(gradients[at + i]), to_float(results[at + i]), sum);
  sum = across_row<Sum>(sum, thread, shared_cast<float>(dynamic_shared()));
  for (std::int32_t i = thread.place; i < columns; i += thread.threads) {
    to[at + i] = from_float<T>(to_float(results[at + i]) * (to_float(gradients[at + i]) - sum));
  }
}

}  // namespace

void softmax_backward(Precision precision, const void* y, const void* dy, void* dx, std::int64_t rows, std::int32_t columns,
                      rt::Stream stream) {
  if (rows == 0 || columns == 0) return;
  with_element(precision, [&]<class T>(Element<T>) {
    const T* results = static_cast<const T*>(y);
    const T* gradients = static_cast<const T*>(dy);
    T* to = static_cast<T*>(dx);
    const RowShape shape = row_shape(columns, sizeof(T), aligned16(y) && aligned16(dy) && aligned16(dx));
    if (shape.chunks == 0) {
      launch("softmax_backward_long", softmax_backward_long<T>, dim3(static_cast<unsigned>(rows)), dim3(kRowBlock), kRowShared, stream,
             results, gradients, to, columns);
      return;
    }
    with_spread<T>(shape, [&]<class Spread>(Element<Spread>) {
      launch("softmax_backward", softmax_backward_on_chip<T, Spread>, dim3(blocks_for(rows, shape.rows_per_block())), dim3(shape.threads()),
             kRowShared, stream, results, gradients, to, rows, shape);
    });
  });
}

}  // namespace signstep::kernels
