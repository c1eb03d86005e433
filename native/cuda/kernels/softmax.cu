// Softmax over the columns of a matrix, stable for any finite scores. An entry of -infinity gives 0, and so does every entry of a row that
// is -infinity throughout (a row that attends to nothing); a NaN makes its row NaN.
#include "rows.cuh"

namespace signstep::kernels {
namespace {

// What is subtracted before the exponential: the largest entry, but 0 for a row of -infinity, whose exponentials are then 0 and not NaN.
__device__ __forceinline__ float shift_of(float largest) { return largest == -INFINITY ? 0.0f : largest; }
__device__ __forceinline__ float inverse_of(float sum) { return sum == 0.0f ? 0.0f : 1.0f / sum; }

template <class T, class Spread>
__global__ void __launch_bounds__(kRowBlock) softmax_on_chip(const T* from, T* to, const std::int64_t rows, const RowShape shape) {
  const RowThread thread = row_thread(shape.warps);
  const bool mine = thread.row < rows;
  if (!mine && thread.warps == 1) return;
  const Shared<float> slots = shared_cast<float>(dynamic_shared());

  const std::int32_t columns = mine ? shape.columns : 0;
  typename Spread::Values x;
  Spread::load_row(from + thread.row * shape.columns, columns, thread, -INFINITY, x);
  float largest = -INFINITY;
#pragma unroll
  for (auto& chunk : x) {
#pragma unroll
    for (const float value : chunk) largest = fmaxf(largest, value);
  }
  const float shift = shift_of(across_row<Maximum>(largest, thread, slots));

  float sum = 0;
#pragma unroll
  for (auto& chunk : x) {
#pragma unroll
    for (float& value : chunk) {
      value = expf(value - shift);
      sum += value;
    }
  }
  const float inverse = inverse_of(across_row<Sum>(sum, thread, slots + kRowWarps));
#pragma unroll
  for (auto& chunk : x) {
#pragma unroll
    for (float& value : chunk) value *= inverse;
  }
  Spread::store_row(to + thread.row * shape.columns, columns, thread, x);
}

// A block a row, which is read three times: rows too long for the registers.
template <class T>
__global__ void __launch_bounds__(kRowBlock) softmax_long(const T* from, T* to, const std::int32_t columns) {
  const RowThread thread = row_thread(kRowWarps);
  const Shared<float> slots = shared_cast<float>(dynamic_shared());
  const T* x = from + thread.row * columns;
  T* y = to + thread.row * columns;

  float largest = -INFINITY;
  for (std::int32_t i = thread.place; i < columns; i += thread.threads) largest = fmaxf(largest, to_float(x[i]));
  const float shift = shift_of(across_row<Maximum>(largest, thread, slots));
  float sum = 0;
  for (std::int32_t i = thread.place; i < columns; i += thread.threads) sum += expf(to_float(x[i]) - shift);
  const float inverse = inverse_of(across_row<Sum>(sum, thread, slots + kRowWarps));
  for (std::int32_t i = thread.place; i < columns; i += thread.threads) y[i] = from_float<T>(expf(to_float(x[i]) - shift) * inverse);
}

}  // namespace

void softmax(Precision precision, const void* x, void* y, std::int64_t rows, std::int32_t columns, rt::Stream stream) {
  if (rows == 0 || columns == 0) return;
  with_element(precision, [&]<class T>(Element<T>) {
    const T* from = static_cast<const T*>(x);
    T* to = static_cast<T*>(y);
    const RowShape shape = row_shape(columns, sizeof(T), aligned16(x) && aligned16(y));
    if (shape.chunks == 0) {
      launch("softmax_long", softmax_long<T>, dim3(static_cast<unsigned>(rows)), dim3(kRowBlock), kRowShared, stream, from, to, columns);
      return;
    }
    with_spread<T>(shape, [&]<class Spread>(Element<Spread>) {
      launch("softmax", softmax_on_chip<T, Spread>, dim3(blocks_for(rows, shape.rows_per_block())), dim3(shape.threads()), kRowShared,
             stream, from, to, rows, shape);
    });
  });
}

}  // namespace signstep::kernels
