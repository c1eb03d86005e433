// Pools over images. A thread has a run of channels of one window, or of one pixel where gradients flow back: it then asks the windows that
// see its pixel, so that no two threads write to one place and every sum has one order.
#include "element.cuh"
#include "kernels.h"
#include "walk.h"

namespace signstep::kernels {
namespace {

constexpr int kBlock = 256;

struct PoolArgs {
  Window window;
  bool whole;
  std::int64_t count, count_of_image;  // runs of channels: one a thread
  bool wide;                           // count passes 2^31
  const std::int32_t* live;
  Divisor by_runs, by_columns, by_lines, by_stride_y, by_stride_x;
};

// The place of a thread: image, line, column and first channel of a window or a pixel.
struct Place {
  std::int64_t image;
  int y, x, channel;
};

// Where this thread has nothing to do: false.
template <int Run>
__device__ __forceinline__ bool find_place(const PoolArgs& args, Place& at) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x;
  const std::int64_t count = args.live == nullptr ? args.count : *args.live * args.count_of_image;
  if (index >= args.count || index >= count) return false;
  const std::int64_t place = args.by_runs.quotient(index, args.wide), line = args.by_columns.quotient(place, args.wide);
  at.image = args.by_lines.quotient(line, args.wide);
  at.y = static_cast<int>(line - at.image * args.by_lines.divisor);
  at.x = static_cast<int>(place - line * args.by_columns.divisor);
  at.channel = static_cast<int>(index - place * args.by_runs.divisor) * Run;
  return true;
}

// Taps [from, to) of one side see pixels of the image.
struct Taps {
  int from, to;
};
__device__ __forceinline__ Taps taps_inside(int start, int taps, int step, int size) {
  Taps in{0, taps};
  while (in.from < taps && start + in.from * step < 0) ++in.from;
  while (in.to > in.from && start + (in.to - 1) * step >= size) --in.to;
  return in;
}

// Windows [from, to) along one side begin at or before a pixel and reach it or beyond; `above`: the pixel's distance from the first window.
__device__ __forceinline__ Taps windows_over(int above, int reach, int rows, int stride, const Divisor& by_stride) {
  const int low = above - reach;
  const int from = low <= 0 ? 0 : static_cast<int>(by_stride.quotient(low + stride - 1, false));
  const int to = above < 0 ? 0 : static_cast<int>(by_stride.quotient(above, false)) + 1;
  return {from, to < rows ? to : rows};
}

template <class T>
__device__ __forceinline__ const T* pixel(const T* images, const Window& w, const Place& at, int y, int x) {
  return images + ((at.image * w.height + y) * w.width + x) * w.channels + at.channel;
}

__device__ __forceinline__ float divisor_of(const PoolArgs& args, int start_y, int start_x) {
  const Window& w = args.window;
  if (args.whole) return static_cast<float>(w.taps_y * w.taps_x);
  const Taps in_y = taps_inside(start_y, w.taps_y, w.step_y, w.height), in_x = taps_inside(start_x, w.taps_x, w.step_x, w.width);
  const int seen = (in_y.to - in_y.from) * (in_x.to - in_x.from);
  return static_cast<float>(seen > 0 ? seen : 1);
}

// kMax: the greatest pixel of a window, a NaN where there is one, -infinity where it sees none. Else their sum over the divisor.
// (Without the 1 in its bounds ptxas 13.0 spills to stay at 40 registers.)
template <class T, int Run, bool kMax>
__global__ void __launch_bounds__(kBlock, 1)
    pool_forward(const __grid_constant__ PoolArgs args, const T* __restrict__ in, T* __restrict__ out) {
  Place at;
  if (!find_place<Run>(args, at)) return;
  const Window& w = args.window;
  const int top = w.first_y + at.y * w.stride_y, left = w.first_x + at.x * w.stride_x;
  const Taps in_y = taps_inside(top, w.taps_y, w.step_y, w.height), in_x = taps_inside(left, w.taps_x, w.step_x, w.width);
  float v[Run];
#pragma unroll
  for (int r = 0; r < Run; ++r) v[r] = kMax ? -INFINITY : 0.0f;
  for (int i = in_y.from; i < in_y.to; ++i)
    for (int j = in_x.from; j < in_x.to; ++j) {
      float x[Run];
      load(pixel(in, w, at, top + i * w.step_y, left + j * w.step_x), x);
#pragma unroll
      for (int r = 0; r < Run; ++r) {
        if constexpr (kMax)
          v[r] = isnan(v[r]) || v[r] >= x[r] ? v[r] : x[r];
        else
          v[r] += x[r];
      }
    }
  if constexpr (!kMax) {
    const float divisor = divisor_of(args, top, left);
#pragma unroll
    for (int r = 0; r < Run; ++r) v[r] /= divisor;
  }
  store(out + ((at.image * w.rows_y + at.y) * w.rows_x + at.x) * w.channels + at.channel, v);
}

// Which channels of this pixel lose the window that begins at (top, left): an earlier pixel is as great, or a later one greater. NaN is the
// greatest of all.
template <class T, int Run>
__device__ __forceinline__ unsigned lost_channels(const Window& w, const T* x, const Place& at, int top, int left, const float (&own)[Run]) {
  const Taps in_y = taps_inside(top, w.taps_y, w.step_y, w.height), in_x = taps_inside(left, w.taps_x, w.step_x, w.width);
  unsigned lost = 0;
  bool before = true;
  for (int i = in_y.from; i < in_y.to; ++i)
    for (int j = in_x.from; j < in_x.to; ++j) {
      const int other_y = top + i * w.step_y, other_x = left + j * w.step_x;
      if (other_y == at.y && other_x == at.x) {
        before = false;
        continue;
      }
      float other[Run];
      load(pixel(x, w, at, other_y, other_x), other);
#pragma unroll
      for (int r = 0; r < Run; ++r) {
        const bool beats = isnan(own[r]) ? before && isnan(other[r]) : before ? !(other[r] < own[r]) : !(other[r] <= own[r]);
        lost |= (beats ? 1u : 0u) << r;
      }
    }
  return lost;
}

template <class T, int Run, bool kMax>
__global__ void __launch_bounds__(kBlock, 1)
    pool_backward(const __grid_constant__ PoolArgs args, const T* __restrict__ x, const T* __restrict__ dy, T* __restrict__ dx) {
  Place at;
  if (!find_place<Run>(args, at)) return;
  const Window& w = args.window;
  const int above = at.y - w.first_y, before = at.x - w.first_x;
  const Taps over_y = windows_over(above, (w.taps_y - 1) * w.step_y, w.rows_y, w.stride_y, args.by_stride_y);
  const Taps over_x = windows_over(before, (w.taps_x - 1) * w.step_x, w.rows_x, w.stride_x, args.by_stride_x);
  float own[Run], sum[Run];
  if constexpr (kMax) load(pixel(x, w, at, at.y, at.x), own);
#pragma unroll
  for (int r = 0; r < Run; ++r) sum[r] = 0;
  for (int row = over_y.from; row < over_y.to; ++row) {
    if (w.step_y > 1 && (above - row * w.stride_y) % w.step_y != 0) continue;
    for (int column = over_x.from; column < over_x.to; ++column) {
      if (w.step_x > 1 && (before - column * w.stride_x) % w.step_x != 0) continue;
      const int top = w.first_y + row * w.stride_y, left = w.first_x + column * w.stride_x;
      float gradient[Run];
      load(dy + ((at.image * w.rows_y + row) * w.rows_x + column) * w.channels + at.channel, gradient);
      if constexpr (kMax) {
        const unsigned lost = lost_channels<T, Run>(w, x, at, top, left, own);
#pragma unroll
        for (int r = 0; r < Run; ++r) sum[r] += (lost >> r & 1) != 0 ? 0.0f : gradient[r];
      } else {
        const float divisor = divisor_of(args, top, left);
#pragma unroll
        for (int r = 0; r < Run; ++r) sum[r] += gradient[r] / divisor;
      }
    }
  }
  store(dx + ((at.image * w.height + at.y) * w.width + at.x) * w.channels + at.channel, sum);
}

void check(const char* name, const Pool& pool) {
  const Window& w = pool.window;
  require(pool.images >= 0 && w.height > 0 && w.width > 0 && w.channels > 0 && w.rows_y >= 0 && w.rows_x >= 0 && w.taps_y > 0 &&
              w.taps_x > 0 && w.stride_y > 0 && w.stride_x > 0 && w.step_y > 0 && w.step_x > 0,
          name, "sizes must be at least 1");
}

// `lines` by `columns` places an image, `run` channels a thread.
PoolArgs pool_args(const Pool& pool, std::int32_t lines, std::int32_t columns, int run) {
  const Window& w = pool.window;
  PoolArgs args{};
  args.window = w;
  args.by_runs = Divisor(w.channels / run);
  args.count_of_image = std::int64_t{lines} * columns * args.by_runs.divisor;
  args.count = pool.images * args.count_of_image;
  args.live = pool.live.rows_per_image > 0 ? pool.live.count : nullptr;
  args.by_columns = Divisor(columns > 0 ? columns : 1);
  args.by_lines = Divisor(lines > 0 ? lines : 1);
  args.by_stride_y = Divisor(w.stride_y);
  args.by_stride_x = Divisor(w.stride_x);
  args.wide = args.count >= (std::int64_t{1} << 31);
  args.whole = pool.whole;
  return args;
}

// body(Element, std::integral_constant<int, Run>): 16 bytes a thread where every array allows it.
template <class... Pointers, class Body>
void with_run(const Pool& pool, Body&& body, Pointers... arrays) {
  with_element(pool.precision, [&](auto element) {
    using T = typename decltype(element)::type;
    if (pool.window.channels % kWide<T> == 0 && (aligned16(arrays) && ...))
      body(element, std::integral_constant<int, kWide<T>>{});
    else
      body(element, std::integral_constant<int, 1>{});
  });
}

template <bool kMax>
void forward(const char* name, const Pool& pool, const void* in, void* out, rt::Stream stream) {
  check(name, pool);
  with_run(
      pool,
      [&](auto element, auto run) {
        using T = typename decltype(element)::type;
        const PoolArgs args = pool_args(pool, pool.window.rows_y, pool.window.rows_x, run);
        if (args.count == 0) return;
        launch(name, pool_forward<T, run.value, kMax>, dim3(blocks_for(args.count, kBlock)), dim3(kBlock), 0, stream, args,
               static_cast<const T*>(in), static_cast<T*>(out));
      },
      in, out);
}

template <bool kMax>
void backward(const char* name, const Pool& pool, const void* x, const void* dy, void* dx, rt::Stream stream) {
  check(name, pool);
  with_run(
      pool,
      [&](auto element, auto run) {
        using T = typename decltype(element)::type;
        const PoolArgs args = pool_args(pool, pool.window.height, pool.window.width, run);
        if (args.count == 0) return;
        launch(name, pool_backward<T, run.value, kMax>, dim3(blocks_for(args.count, kBlock)), dim3(kBlock), 0, stream, args,
               static_cast<const T*>(x), static_cast<const T*>(dy), static_cast<T*>(dx));
      },
      x, dy, dx);
}

}  // namespace

void max_pool(const Pool& pool, const void* in, void* out, rt::Stream stream) { forward<true>("max_pool", pool, in, out, stream); }

void max_pool_backward(const Pool& pool, const void* x, const void* dy, void* dx, rt::Stream stream) {
  backward<true>("max_pool_backward", pool, x, dy, dx, stream);
}

void average_pool(const Pool& pool, const void* in, void* out, rt::Stream stream) { forward<false>("average_pool", pool, in, out, stream); }

void average_pool_backward(const Pool& pool, const void* dy, void* dx, rt::Stream stream) {
  backward<false>("average_pool_backward", pool, dy, dy, dx, stream);
}

}  // namespace signstep::kernels
