// convolution() and the pools against their oracles: fresh random inputs with a mean and outliers, outputs poisoned. The same cases test
// the processor, the simulator and a GPU.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <random>
#include <vector>

#include "cuda/device_case.h"
#include "epilogue_oracle.h"
#include "window_oracle.h"

namespace window_case {

using device_case::Array;
using device_case::relative_error;
using device_case::rounded;
using device_case::rounding_error;
using device_case::Values;
using epilogue_oracle::is_forward;
using epilogue_oracle::is_store;
using signstep::kernels::Epilogue;
using signstep::kernels::Grid;
using signstep::kernels::Pool;
using signstep::kernels::Precision;
using signstep::kernels::Window;
using window_oracle::size;

// A window of taps x taps at every stride-th pixel of an image with a border of `padding` (negative: cropped) on all sides.
inline Window square(int height, int width, int channels, int taps, int stride = 1, int padding = 0, int step = 1) {
  const auto rows = [&](int pixels) { return std::max(0, (pixels + 2 * padding - step * (taps - 1) - 1 + stride) / stride); };
  return {.height = height, .width = width, .channels = channels, .rows_y = rows(height), .rows_x = rows(width), .stride_y = stride,
          .stride_x = stride, .first_y = -padding, .first_x = -padding, .taps_y = taps, .taps_x = taps, .step_y = step, .step_x = step};
}

// Windows as no network has them: of different sides, that reach far outside, or see nothing at all.
inline Window any_window(std::mt19937& random) {
  const auto draw = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  constexpr int kChannels[] = {1, 3, 5, 8, 17, 64, 100};
  return {.height = draw(1, 9), .width = draw(1, 9), .channels = kChannels[draw(0, 6)], .rows_y = draw(0, 6), .rows_x = draw(1, 7),
          .stride_y = draw(1, 3), .stride_x = draw(1, 3), .first_y = draw(-8, 3), .first_x = draw(-8, 3), .taps_y = draw(1, 7),
          .taps_x = draw(1, 5), .step_y = draw(1, 2), .step_x = draw(1, 2)};
}

inline Grid dense(const Window& w) { return {.height = w.rows_y, .width = w.rows_x}; }

inline void describe(const Window& w, const char* what, Precision precision, double error, double bound) {
  std::printf("  %s, precision %u: %dx%dx%d, rows %dx%d stride %d,%d from %d,%d, taps %dx%d step %d,%d: error %.3g, bound %.3g\n", what,
              static_cast<unsigned>(precision), w.height, w.width, w.channels, w.rows_y, w.rows_x, w.stride_y, w.stride_x, w.first_y,
              w.first_x, w.taps_y, w.taps_x, w.step_y, w.step_x, error, bound);
}

// Images [images, pixels, channels], some channels with outliers.
inline std::vector<float> random_images(std::size_t rows, int channels, std::mt19937& random, Precision precision) {
  std::vector<float> v = device_case::normal(rows, size(channels), random, 0.3f, 1, 37);
  for (float& x : v) x = rounded(x, precision);
  return v;
}

// ---- convolutions ------------------------------------------------------------------------------------------------------------------------

struct Convolved {
  int images, n;
  Window window;
  Grid grid;
  Epilogue epilogue = Epilogue::store;
  Precision precision = Precision::bf16;
  bool bias = true, scale = false, residual = false, keep_aux = true;
  int live = -1;  // -1: all
};

inline void check(const Convolved& p, std::mt19937& random) {
  const Window& w = p.window;
  const std::size_t n = size(p.n), taps = size(w.taps_y) * size(w.taps_x), depth = taps * size(w.channels);
  const std::size_t stored = size(p.images) * size(p.grid.height) * size(p.grid.width);
  const std::vector<float> a = random_images(size(p.images) * size(window_oracle::pixels(w)), w.channels, random, p.precision);
  std::vector<float> b = device_case::normal(n, depth, random, 0.01f, 1 / std::sqrt(static_cast<float>(depth)));
  for (float& x : b) x = rounded(x, p.precision);
  const std::vector<float> bias = device_case::normal(1, n, random, 0.1f), scale = device_case::normal(1, n, random, 0.5f);
  const std::vector<float> residual = random_images(stored, p.n, random, p.precision);
  const std::vector<float> argument = random_images(stored, p.n, random, p.precision);

  const std::vector<double> sums = window_oracle::products<double>(w, p.images, p.n, a, b);
  const std::vector<float> plain_sums = window_oracle::products<float>(w, p.images, p.n, a, b);
  std::vector<double> exact, exact_aux;
  std::vector<float> plain;
  std::vector<std::size_t> written;
  const bool relu = p.epilogue == Epilogue::relu || p.epilogue == Epilogue::relu_backward;
  const std::int64_t rows = window_oracle::positions(w) * (p.live < 0 ? p.images : std::min(p.live, p.images));
  for (std::int64_t row = 0; row < rows; row++)
    for (std::size_t c = 0; c < n; c++) {
      const std::size_t at = size(window_oracle::place(w, p.grid, row)) * n + c;
      const auto before = [&](double sum) {
        if (p.bias) sum += static_cast<double>(bias[c]);
        if (p.scale) sum *= static_cast<double>(scale[c]);
        return p.residual ? sum + static_cast<double>(residual[at]) : sum;
      };
      const auto finished = [&](double sum) {
        if (is_store(p.epilogue)) return before(sum);
        if (is_forward(p.epilogue)) return epilogue_oracle::activation(p.epilogue, before(sum));
        if (p.residual) sum += static_cast<double>(residual[at]);
        return sum * epilogue_oracle::slope(p.epilogue, static_cast<double>(argument[at]));
      };
      const std::size_t i = size(row) * n + c;
      exact.push_back(finished(sums[i]));
      exact_aux.push_back(before(sums[i]));
      plain.push_back(static_cast<float>(finished(static_cast<double>(plain_sums[i]))));
      written.push_back(at);
    }

  const Precision out_precision = p.epilogue == Epilogue::store_float ? Precision::float32 : p.precision;
  const std::vector<float> poison(stored * n, std::numeric_limits<float>::quiet_NaN());
  const Values device_a(a, p.precision), device_b(b, p.precision), device_residual(residual, p.precision), out(poison, out_precision);
  const Values aux(is_forward(p.epilogue) ? poison : argument, p.precision);
  const Array<float> device_bias(bias), device_scale(scale);
  const Array<std::int32_t> live(std::vector<std::int32_t>{p.live});
  signstep::kernels::Convolution args;
  args.product.precision = p.precision;
  args.product.a = device_a.data();
  args.product.b = device_b.data();
  args.product.out = out.data();
  args.product.n = p.n;
  args.product.epilogue = p.epilogue;
  if (p.bias) args.product.bias = device_bias.data();
  if (p.scale) args.product.scale = device_scale.data();
  if (p.residual && (relu || is_store(p.epilogue))) args.product.residual = device_residual.data();
  if (!is_store(p.epilogue) && p.keep_aux) args.product.aux = aux.data();
  if (p.live >= 0) args.product.live = {live.data(), static_cast<std::int32_t>(window_oracle::positions(w))};
  args.images = p.images;
  args.window = w;
  args.grid = p.grid;
  signstep::kernels::convolution(args, nullptr);

  const auto picked = [&](const std::vector<float>& from) {
    std::vector<float> found;
    for (std::size_t at : written) found.push_back(from[at]);
    return found;
  };
  // The rule of gemm's tests: 16 bits may lose what rounding alone loses, float32 what a plain product in float32 does; of few terms also the
  // product of two low tf32 parts, 2^-22 of each.
  double bound = out_precision == Precision::float32 ? 2 * relative_error(plain, exact) : 1.5 * rounding_error(exact, p.precision);
  bound = std::max(bound, p.precision == Precision::float32 ? 2.4e-7 : 1e-6);
  const std::vector<float> result = out.host();
  const double error = relative_error(picked(result), exact);
  if (!(error <= bound)) describe(w, "convolution", p.precision, error, bound);
  EXPECT(error <= bound);
  if (is_forward(p.epilogue) && p.keep_aux)
    EXPECT(relative_error(picked(aux.host()), exact_aux) <=
           (p.precision == Precision::float32 ? 1e-6 : std::max(1.5 * rounding_error(exact_aux, p.precision), 1e-6)));
  std::vector<bool> touched(result.size());
  for (std::size_t at : written) touched[at] = true;
  bool untouched = true;
  for (std::size_t i = 0; i < result.size(); i++) untouched = untouched && (touched[i] || std::isnan(result[i]));
  EXPECT(untouched);
}

// ---- pools -------------------------------------------------------------------------------------------------------------------------------

struct Pooled {
  int images;
  Window window;
  bool whole = false;
  Precision precision = Precision::bf16;
  int live = -1;
  bool ties = false;  // few different values, and NaN among them
};

// All four pools.
inline void check(const Pooled& p, std::mt19937& random) {
  const Window& w = p.window;
  const std::int64_t positions = window_oracle::positions(w), pixels = window_oracle::pixels(w);
  std::vector<float> x = random_images(size(p.images) * size(pixels), w.channels, random, p.precision);
  if (p.ties)
    for (float& v : x) {
      const int drawn = std::uniform_int_distribution<int>(0, 20)(random);
      v = drawn == 20   ? std::numeric_limits<float>::quiet_NaN()
          : drawn == 19 ? -std::numeric_limits<float>::infinity()
                        : static_cast<float>(drawn % 3);
    }
  const std::vector<float> dy = random_images(size(p.images) * size(positions), w.channels, random, p.precision);
  const Values device_x(x, p.precision), device_dy(dy, p.precision);
  const Array<std::int32_t> live(std::vector<std::int32_t>{p.live});
  Pool pool{.precision = p.precision, .images = p.images, .window = w, .whole = p.whole, .live = {}};
  if (p.live >= 0) pool.live = {live.data(), static_cast<std::int32_t>(positions)};
  const std::size_t images = size(p.live < 0 ? p.images : std::min(p.live, p.images)), channels = size(w.channels);

  // The images under attack are as expected; the others are left alone.
  const auto compare = [&](const char* what, const Values& out, std::vector<double> expected, std::size_t image) {
    std::vector<float> got = out.host();
    bool untouched = true;
    for (std::size_t i = images * image; i < got.size(); i++) untouched = untouched && std::isnan(got[i]);
    EXPECT(untouched);
    got.resize(images * image);
    expected.resize(images * image);
    const double bound = p.precision == Precision::float32 ? 1e-6 : std::max(1.5 * rounding_error(expected, p.precision), 1e-6);
    const double error = relative_error(got, expected);
    if (!(error <= bound)) describe(w, what, p.precision, error, bound);
    EXPECT(error <= bound);
  };
  const std::size_t small = size(positions) * channels, large = size(pixels) * channels;
  {
    const Values out(size(p.images) * small, p.precision);
    max_pool(pool, device_x.data(), out.data(), nullptr);
    const std::vector<float> expected = window_oracle::max_pool(w, p.images, x), got = out.host();
    bool right = true;
    for (std::size_t i = 0; i < got.size(); i++)
      right = right && (i >= images * small || std::isnan(expected[i]) ? std::isnan(got[i]) : got[i] == expected[i]);
    if (!right) describe(w, "max_pool", p.precision, 1, 0);
    EXPECT(right);
  }
  {
    const Values dx(size(p.images) * large, p.precision);
    max_pool_backward(pool, device_x.data(), device_dy.data(), dx.data(), nullptr);
    compare("max_pool_backward", dx, window_oracle::max_pool_backward(w, p.images, x, dy), large);
  }
  {
    const Values dx(size(p.images) * large, p.precision);
    average_pool_backward(pool, device_dy.data(), dx.data(), nullptr);
    compare("average_pool_backward", dx, window_oracle::average_pool_backward(w, p.images, p.whole, dy), large);
  }
  if (p.ties) return;  // averages of NaN say nothing
  const Values out(size(p.images) * small, p.precision);
  average_pool(pool, device_x.data(), out.data(), nullptr);
  compare("average_pool", out, window_oracle::average_pool(w, p.images, p.whole, x), small);
}

}  // namespace window_case
