// Pools over images with their channels last: one thread an element, neighbouring threads neighbouring channels, so that every access of a
// warp is a whole line. Gradients are gathered: each pixel asks the windows that see it, so that sums have one order and nothing is atomic.
#include "element.cuh"
#include "windows.cuh"

namespace signstep::kernels {
namespace {

constexpr int kBlock = 256;

struct PoolArgs {
  Window window;
  std::int64_t elements;  // of what is written
  const std::int32_t* live;
  std::int64_t elements_per_image;
  std::int32_t whole;
};

// The element of this thread; beyond the last: none. Finished images are left out.
__device__ __forceinline__ bool element_of_thread(const PoolArgs& args, std::int64_t& i) {
  i = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x;
  if (i >= args.elements) return false;
  return args.live == nullptr || i < *args.live * args.elements_per_image;
}

struct Greatest {
  float value = -INFINITY;
  std::int32_t tap = -1;

  // The first of equals stays; a NaN is greater than any number.
  __device__ __forceinline__ void consider(std::int32_t number, float x) {
    if (tap >= 0 && (isnan(value) || !(x > value || isnan(x)))) return;
    value = x;
    tap = number;
  }
};

// x: the image, at the channel that is looked at.
template <class T>
__device__ __forceinline__ Greatest greatest(const Window& w, const T* x, std::int32_t row, std::int32_t column) {
  Greatest found;
  for_taps(w, row, column, [&](std::int32_t tap, std::int64_t pixel) { found.consider(tap, to_float(x[pixel * w.channels])); });
  return found;
}

template <class T>
__global__ void __launch_bounds__(kBlock) max_pool_kernel(const PoolArgs args, const T* in, T* out) {
  std::int64_t i;
  if (!element_of_thread(args, i)) return;
  const WindowElement at = window_element(args.window, i);
  out[i] = from_float<T>(greatest(args.window, in + at.image * image_elements(args.window) + at.channel, at.row, at.column).value);
}

template <class T>
__global__ void __launch_bounds__(kBlock) average_pool_kernel(const PoolArgs args, const T* in, T* out) {
  std::int64_t i;
  if (!element_of_thread(args, i)) return;
  const Window& w = args.window;
  const WindowElement at = window_element(w, i);
  const T* x = in + at.image * image_elements(w) + at.channel;
  float sum = 0;
  for_taps(w, at.row, at.column, [&](std::int32_t, std::int64_t pixel) { sum += to_float(x[pixel * w.channels]); });
  out[i] = from_float<T>(sum / divisor(w, args.whole != 0, at.row, at.column));
}

template <class T>
__global__ void __launch_bounds__(kBlock) max_pool_backward_kernel(const PoolArgs args, const T* x, const T* dy, T* dx) {
  std::int64_t i;
  if (!element_of_thread(args, i)) return;
  const Window& w = args.window;
  const PixelElement at = pixel_element(w, i);
  const T* image = x + at.image * image_elements(w) + at.channel;
  float sum = 0;
  for_windows(w, at.y, at.x, [&](std::int32_t tap, std::int32_t row, std::int32_t column) {
    if (greatest(w, image, row, column).tap == tap) sum += to_float(dy[window_at(w, at.image, row, column) + at.channel]);
  });
  dx[i] = from_float<T>(sum);
}

template <class T>
__global__ void __launch_bounds__(kBlock) average_pool_backward_kernel(const PoolArgs args, const T* dy, T* dx) {
  std::int64_t i;
  if (!element_of_thread(args, i)) return;
  const Window& w = args.window;
  const PixelElement at = pixel_element(w, i);
  float sum = 0;
  for_windows(w, at.y, at.x, [&](std::int32_t, std::int32_t row, std::int32_t column) {
    sum += to_float(dy[window_at(w, at.image, row, column) + at.channel]) / divisor(w, args.whole != 0, row, column);
  });
  dx[i] = from_float<T>(sum);
}

// `pixels`: whether the kernel writes pixels of the images, not windows. The grid is 0 where there is nothing to write.
PoolArgs args_of(const char* name, const Pool& pool, bool pixels) {
  const Window& w = pool.window;
  require(pool.images >= 0 && w.height > 0 && w.width > 0 && w.channels > 0 && w.rows_y >= 0 && w.rows_x >= 0 && w.taps_y > 0 && w.taps_x > 0 &&
              w.stride_y > 0 && w.stride_x > 0,
          name, "sizes must be at least 1");
  PoolArgs args{};
  args.window = w;
  args.elements_per_image = pixels ? image_elements(w) : std::int64_t{w.rows_y} * w.rows_x * w.channels;
  args.elements = pool.images * args.elements_per_image;
  require(args.elements <= std::int64_t{0x7FFFFFFF} * kBlock, name, "too many elements");
  args.live = pool.live.rows_per_image > 0 ? pool.live.count : nullptr;
  args.whole = pool.whole ? 1 : 0;
  return args;
}

dim3 grid_of(const PoolArgs& args) { return dim3(static_cast<unsigned>((args.elements + kBlock - 1) / kBlock)); }

}  // namespace

void max_pool(const Pool& pool, const void* in, void* out, rt::Stream stream) {
  const PoolArgs args = args_of("max_pool", pool, false);
  if (args.elements == 0) return;
  with_element(pool.precision, [&]<class T>(Element<T>) {
    launch("max_pool", max_pool_kernel<T>, grid_of(args), dim3(kBlock), 0, stream, args, static_cast<const T*>(in), static_cast<T*>(out));
  });
}

void max_pool_backward(const Pool& pool, const void* x, const void* dy, void* dx, rt::Stream stream) {
  const PoolArgs args = args_of("max_pool_backward", pool, true);
  if (args.elements == 0) return;
  with_element(pool.precision, [&]<class T>(Element<T>) {
    launch("max_pool_backward", max_pool_backward_kernel<T>, grid_of(args), dim3(kBlock), 0, stream, args, static_cast<const T*>(x),
           static_cast<const T*>(dy), static_cast<T*>(dx));
  });
}

void average_pool(const Pool& pool, const void* in, void* out, rt::Stream stream) {
  const PoolArgs args = args_of("average_pool", pool, false);
  if (args.elements == 0) return;
  with_element(pool.precision, [&]<class T>(Element<T>) {
    launch("average_pool", average_pool_kernel<T>, grid_of(args), dim3(kBlock), 0, stream, args, static_cast<const T*>(in), static_cast<T*>(out));
  });
}

void average_pool_backward(const Pool& pool, const void* dy, void* dx, rt::Stream stream) {
  const PoolArgs args = args_of("average_pool_backward", pool, true);
  if (args.elements == 0) return;
  with_element(pool.precision, [&]<class T>(Element<T>) {
    launch("average_pool_backward", average_pool_backward_kernel<T>, grid_of(args), dim3(kBlock), 0, stream, args, static_cast<const T*>(dy),
           static_cast<T*>(dx));
  });
}

}  // namespace signstep::kernels
