// Gradient of LayerNorm and RMSNorm from the normalised rows, or from what they were made of: dx = addend + rstd * (dy - mean(dy) - y *
// mean(dy * y)).
#include "rows.cuh"
#include "statistics.cuh"

namespace signstep::kernels {
namespace {

// y is (what args.y holds - mean) * rstd: of rows that are normalised already the mean is 0, and only their own rstd counts.
__device__ __forceinline__ RowMoments moments_of(const LayerNormBackward& args, std::int64_t row) {
  if (args.statistics == nullptr) return {0.0f, args.rstd[row]};
  return row_moments(args.statistics, row, args.columns, args.epsilon);
}

template <class T, class Spread>
__global__ void __launch_bounds__(kRowBlock) layer_norm_backward_on_chip(const LayerNormBackward args, const RowShape shape) {
  const std::int64_t rows = live_rows(args.live, args.rows);
  const RowThread thread = row_thread(shape.warps);
  const bool mine = thread.row < rows;
  if (!mine && thread.warps == 1) return;
  const Shared<float> slots = shared_cast<float>(dynamic_shared());

  const std::int32_t columns = mine ? args.columns : 0;
  const std::int64_t at = thread.row * args.columns;
  typename Spread::Values dy, y;
  Spread::load_row(static_cast<const T*>(args.dy) + at, columns, thread, 0.0f, dy);
  Spread::load_row(static_cast<const T*>(args.y) + at, columns, thread, 0.0f, y);
  const RowMoments moments = mine ? moments_of(args, thread.row) : RowMoments{0.0f, 0.0f};
  const float stretch = args.statistics == nullptr ? 1.0f : moments.rstd;

  float sums[2] = {0, 0};  // dy, dy * y
  constexpr int kChunks = static_cast<int>(sizeof(dy) / sizeof(dy[0]));
#pragma unroll
  for (int c = 0; c < kChunks; c++) {
#pragma unroll
    for (int i = 0; i < Spread::width; i++) {
      y[c][i] = (y[c][i] - moments.mean) * stretch;
      sums[0] += dy[c][i];
      sums[1] = fmaf(dy[c][i], y[c][i], sums[1]);
    }
  }
  across_row<Sum>(sums, thread, slots);
  if (!mine) return;
  const float mean = args.rms ? 0.0f : sums[0] / static_cast<float>(args.columns);
  const float slope = sums[1] / static_cast<float>(args.columns);

#pragma unroll
  for (int c = 0; c < kChunks; c++) {
    const std::int32_t column = Spread::column(thread, c);
    if (column >= columns) continue;
    float dx[Spread::width] = {};
    if (args.addend != nullptr) load(static_cast<const T*>(args.addend) + at + column, dx);
#pragma unroll
    for (int i = 0; i < Spread::width; i++) dx[i] = fmaf(moments.rstd, dy[c][i] - mean - y[c][i] * slope, dx[i]);
    store(static_cast<T*>(args.dx) + at + column, dx);
  }
}

// A block a row, which is read twice: rows too long for the registers.
template <class T>
__global__ void __launch_bounds__(kRowBlock) layer_norm_backward_long(const LayerNormBackward args) {
  if (static_cast<std::int64_t>(blockIdx.x) >= live_rows(args.live, args.rows)) return;
  const RowThread thread = row_thread(kRowWarps);
  const std::int64_t at = thread.row * args.columns;
  const T* dy = static_cast<const T*>(args.dy) + at;
  const T* y = static_cast<const T*>(args.y) + at;
  const T* addend = static_cast<const T*>(args.addend);
  T* dx = static_cast<T*>(args.dx) + at;
  const RowMoments moments = moments_of(args, thread.row);
  const float stretch = args.statistics == nullptr ? 1.0f : moments.rstd;
  const auto normalised = [&](std::int32_t i) { return (to_float(y[i]) - moments.mean) * stretch; };

  float sums[2] = {0, 0};
  for (std::int32_t i = thread.place; i < args.columns; i += thread.threads) {
    sums[0] += to_float(dy[i]);
    sums[1] = fmaf(to_float(dy[i]), normalised(i), sums[1]);
  }
  across_row<Sum>(sums, thread, shared_cast<float>(dynamic_shared()));
  const float mean = args.rms ? 0.0f : sums[0] / static_cast<float>(args.columns);
  const float slope = sums[1] / static_cast<float>(args.columns);
  for (std::int32_t i = thread.place; i < args.columns; i += thread.threads) {
    const float before = addend != nullptr ? to_float(addend[at + i]) : 0.0f;
    dx[i] = from_float<T>(fmaf(moments.rstd, to_float(dy[i]) - mean - normalised(i) * slope, before));
  }
}

}  // namespace

void layer_norm_backward(const LayerNormBackward& args, rt::Stream stream) {
  require(args.columns > 0, "layer_norm_backward", "rows without columns");
  require((args.rstd == nullptr) != (args.statistics == nullptr), "layer_norm_backward", "either rstd or statistics of the forward pass");
  if (args.rows == 0) return;
  with_element(args.precision, [&]<class T>(Element<T>) {
    const bool aligned = aligned16(args.dy) && aligned16(args.y) && aligned16(args.dx) && aligned16(args.addend);
    const RowShape shape = row_shape(args.columns, sizeof(T), aligned);
    if (shape.chunks == 0) {
      launch("layer_norm_backward_long", layer_norm_backward_long<T>, dim3(static_cast<unsigned>(args.rows)), dim3(kRowBlock), kRowShared,
             stream, args);
      return;
    }
    with_spread<T>(shape, [&]<class Spread>(Element<Spread>) {
      launch("layer_norm_backward", layer_norm_backward_on_chip<T, Spread>, dim3(blocks_for(args.rows, shape.rows_per_block())),
             dim3(shape.threads()), kRowShared, stream, args, shape);
    });
  });
}

}  // namespace signstep::kernels
