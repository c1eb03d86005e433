// convolution() of any shape: one thread an element of the result, neighbouring threads neighbouring channels, products in float32. It serves
// what the matrix cores do not.
#include <string>

#include "element.cuh"
#include "gemm_activation.cuh"
#include "windows.cuh"

namespace signstep::kernels {
namespace {

constexpr int kBlock = 256;

struct ConvolutionArgs {
  Window window;
  Grid grid;
  const void *a, *b, *residual;
  void *out, *aux;
  const float *bias, *scale;
  const std::int32_t* live;
  std::int64_t elements;
  std::int32_t n;
  Epilogue epilogue;
};

template <class T>
__global__ void __launch_bounds__(kBlock) convolution_plain(const ConvolutionArgs args) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x;
  const Window& w = args.window;
  if (i >= args.elements) return;
  const std::int64_t position = i / args.n, line = position / w.rows_x, image = line / w.rows_y;
  if (args.live != nullptr && image >= *args.live) return;
  const std::int32_t row = static_cast<std::int32_t>(line % w.rows_y), column = static_cast<std::int32_t>(position % w.rows_x);
  const std::int32_t channel = static_cast<std::int32_t>(i % args.n);
  const T* a = static_cast<const T*>(args.a) + image * image_elements(w);
  const T* b = static_cast<const T*>(args.b) + std::int64_t{channel} * w.taps_y * w.taps_x * w.channels;
  float sum = 0;
  for_taps(w, row, column, [&](std::int32_t tap, std::int64_t pixel) {
    const T* x = a + pixel * w.channels;
    const T* weight = b + std::int64_t{tap} * w.channels;
    for (std::int32_t c = 0; c < w.channels; ++c) sum = fmaf(to_float(x[c]), to_float(weight[c]), sum);
  });

  const Grid& g = args.grid;
  const std::int64_t place = (image * g.height + g.first_y + std::int64_t{row} * g.stride_y) * g.width + g.first_x + std::int64_t{column} * g.stride_x;
  const std::int64_t at = place * args.n + channel;
  const auto residual = [&] { return args.residual == nullptr ? 0.0f : to_float(static_cast<const T*>(args.residual)[at]); };
  const bool stores = args.epilogue == Epilogue::store || args.epilogue == Epilogue::store_float;
  const bool backward = args.epilogue == Epilogue::gelu_erf_backward || args.epilogue == Epilogue::gelu_tanh_backward ||
                        args.epilogue == Epilogue::quick_gelu_backward || args.epilogue == Epilogue::silu_backward ||
                        args.epilogue == Epilogue::relu_backward;
  if (backward) {
    const float x = to_float(static_cast<const T*>(args.aux)[at]);
    if (args.epilogue == Epilogue::relu_backward)
      sum = x > 0.0f ? sum + residual() : 0.0f;
    else
      sum *= activation_slope<T>(args.epilogue, x);
  } else {
    if (args.bias != nullptr) sum += args.bias[channel];
    if (stores && args.scale != nullptr) sum *= args.scale[channel];
    sum += residual();
    if (!stores) {
      if (args.aux != nullptr) static_cast<T*>(args.aux)[at] = from_float<T>(sum);
      sum = activate<T>(args.epilogue, sum);
    }
  }
  if (args.epilogue == Epilogue::store_float)
    static_cast<float*>(args.out)[at] = sum;
  else
    static_cast<T*>(args.out)[at] = from_float<T>(sum);
}

[[noreturn]] void refuse(const Convolution& c, const std::string& why) {
  const Window& w = c.window;
  const std::string shape = std::to_string(c.images) + " x " + std::to_string(w.height) + " x " + std::to_string(w.width) + " x " +
                            std::to_string(w.channels) + " (images, height, width, channels), " + std::to_string(w.taps_y) + " x " +
                            std::to_string(w.taps_x) + " taps to " + std::to_string(c.product.n);
  throw rt::Failure{rt::Failure::Kind::invalid, "convolution " + shape + ": " + why};
}

void check(const Convolution& c) {
  const Gemm& g = c.product;
  const Window& w = c.window;
  if (c.images < 0 || g.n < 1 || w.height < 1 || w.width < 1 || w.channels < 1 || w.taps_y < 1 || w.taps_x < 1 || w.rows_y < 0 || w.rows_x < 0)
    refuse(c, "sizes must be at least 1");
  if (g.out == nullptr) refuse(c, "no output");
  if (g.table != nullptr || g.epilogue == Epilogue::step_linf) refuse(c, "a convolution has no table and makes no step");
  if (g.epilogue == Epilogue::store || g.epilogue == Epilogue::store_float) return;
  const bool relu = g.epilogue == Epilogue::relu || g.epilogue == Epilogue::relu_backward;
  if (g.scale != nullptr || (g.residual != nullptr && !relu)) refuse(c, "this epilogue has no scale or residual");
}

}  // namespace

void convolution(const Convolution& c, rt::Stream stream) {
  check(c);
  const Gemm& g = c.product;
  ConvolutionArgs args{};
  args.window = c.window;
  args.grid = c.grid;
  args.a = g.a;
  args.b = g.b;
  args.residual = g.residual;
  args.out = g.out;
  args.aux = g.aux;
  args.bias = g.bias;
  args.scale = g.scale;
  args.live = g.live.rows_per_image > 0 ? g.live.count : nullptr;
  args.n = g.n;
  args.epilogue = g.epilogue;
  args.elements = std::int64_t{c.images} * c.window.rows_y * c.window.rows_x * g.n;
  if (args.elements == 0) return;
  if (args.elements > std::int64_t{0x7FFFFFFF} * kBlock) refuse(c, "too many elements");
  with_element(g.precision, [&]<class T>(Element<T>) {
    launch("convolution", convolution_plain<T>, dim3(static_cast<unsigned>((args.elements + kBlock - 1) / kBlock)), dim3(kBlock), 0, stream, args);
  });
}

}  // namespace signstep::kernels
