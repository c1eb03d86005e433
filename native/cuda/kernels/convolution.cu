// convolution(): checks, lays the windows out, chooses the kernel, launches it. The product takes the tiles of gemm().
#include <algorithm>
#include <limits>
#include <string>

#include "convolution_launch.h"
#include "element.cuh"
#include "gemm_launch.h"
#include "product_faults.h"

namespace signstep::kernels {

namespace {

constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max() - 256;
constexpr std::int32_t kMostOfASide = 1 << 20;  // keeps sums of places within an image in 32 bits

// The product with what the windows say of it.
Gemm product_of(const Convolution& c) {
  Gemm g = c.product;
  g.rows = std::int64_t{c.images} * c.window.rows_y * c.window.rows_x;
  g.k = c.window.taps_y * c.window.taps_x * c.window.channels;
  g.a_map = g.out_map = {};
  if (g.live.rows_per_image > 0) g.live.rows_per_image = c.window.rows_y * c.window.rows_x;
  return g;
}

bool is_aligned(const Convolution& c) {
  return aligned16(c.product.a) && aligned16(c.product.b) &&
         static_cast<std::size_t>(c.window.channels) * bytes_of(c.product.precision) % 16 == 0;
}

WindowRows window_rows(const Window& w, std::int32_t units_a_pixel) {
  const bool together = w.step_x == 1;  // neighbouring taps see neighbouring pixels
  WindowRows rows;
  rows.columns = Divisor(w.rows_x);
  rows.lines = Divisor(w.rows_y);
  rows.height = w.height;
  rows.line = w.width * units_a_pixel;
  rows.stride_y = w.stride_y;
  rows.first_y = w.first_y;
  rows.stride_x = w.stride_x * units_a_pixel;
  rows.first_x = w.first_x * units_a_pixel;
  rows.segments_y = w.taps_y;
  rows.segments_x = together ? 1 : w.taps_x;
  rows.step_y = w.step_y;
  rows.step_x = w.step_x * units_a_pixel;
  rows.length = together ? w.taps_x * units_a_pixel : units_a_pixel;
  return rows;
}

GridMap grid_map(const Window& w, const Grid& g) {
  GridMap map;
  map.dense = g.height == w.rows_y && g.width == w.rows_x && g.first_y == 0 && g.first_x == 0 && g.stride_y == 1 && g.stride_x == 1;
  map.columns = Divisor(w.rows_x);
  map.lines = Divisor(w.rows_y);
  map.image_rows = g.height * g.width;
  map.line_rows = g.stride_y * g.width;
  map.pixel_rows = g.stride_x;
  map.offset = g.first_y * g.width + g.first_x;
  return map;
}

// Does position `first + (count - 1) * stride` stay within [0, size)?
bool within(std::int32_t first, std::int32_t count, std::int32_t stride, std::int32_t size) {
  const std::int64_t last = first + std::int64_t{count - 1} * stride;
  return first >= 0 && first < size && last >= 0 && last < size;
}

void check(const Convolution& c) {
  const Gemm& g = c.product;
  const Window& w = c.window;
  refuse_faulty(c);
  if (c.images == 0 || w.rows_y == 0 || w.rows_x == 0) return;
  if (!within(c.grid.first_y, w.rows_y, c.grid.stride_y, c.grid.height) || !within(c.grid.first_x, w.rows_x, c.grid.stride_x, c.grid.width))
    refuse(c, "its results lie outside of the grid");
  // Windows and what they reach, in elements of a line.
  const auto reaches = [](std::int32_t first, std::int32_t count, std::int32_t stride, std::int32_t taps, std::int32_t step) {
    return std::abs(std::int64_t{first}) + std::abs(std::int64_t{count} * stride) + std::abs(std::int64_t{taps} * step);
  };
  const std::int64_t reach_y = reaches(w.first_y, w.rows_y, w.stride_y, w.taps_y, w.step_y) + w.height;
  const std::int64_t reach_x = reaches(w.first_x, w.rows_x, w.stride_x, w.taps_x, w.step_x) + w.width;
  if (std::max(reach_y, reach_x) > kMostOfASide || (2 * reach_x * w.channels + 4096) * reach_y > kMost * 2)
    refuse(c, "an image is too large");
  const std::int64_t unit = is_aligned(c) ? 16 / static_cast<std::int64_t>(bytes_of(g.precision)) : 1;
  if ((c.images * std::int64_t{w.height} + reach_y) * w.width * w.channels / unit > kMost) refuse(c, "a has too many elements");
  if (std::int64_t{g.n} * w.taps_y * w.taps_x * w.channels / unit > kMost) refuse(c, "b has too many elements");
  if (std::int64_t{c.images} * w.rows_y * w.rows_x > kMost || std::int64_t{c.images} * c.grid.height * c.grid.width > kMost)
    refuse(c, "more than 2^31 rows");
}

void run(const Convolution& c, const Gemm& g, const GemmConfig& config, rt::Stream stream) {
  const std::int32_t unit = config.aligned ? 16 / static_cast<std::int32_t>(bytes_of(g.precision)) : 1;
  ConvolutionArgs args{gemm_args(g), window_rows(c.window, c.window.channels / unit)};
  args.product.epilogue.grid = grid_map(c.window, c.grid);
  switch (g.precision) {
    case Precision::bf16: return launch_convolution_bf16(config, args, stream);
    case Precision::fp16: return launch_convolution_fp16(config, args, stream);
    case Precision::float32: return launch_convolution_float32(config, args, stream);
  }
}

}  // namespace

void convolution(const Convolution& args, rt::Stream stream, const GemmConfig& config) {
  check(args);
  if (config.core != GemmCore::mma || (config.aligned && !is_aligned(args))) refuse(args, "this kernel cannot serve it");
  const Gemm product = product_of(args);
  if (product.rows > 0) run(args, product, config, stream);
}

void convolution(const Convolution& args, rt::Stream stream) {
  check(args);
  const Gemm product = product_of(args);
  if (product.rows == 0) return;
  const GemmShape shape{product.precision, product.rows, product.n, product.k, is_aligned(args), false, has_whole_runs(product), false};
  run(args, product, choose_gemm(shape, this_gemm_device(), GemmCore::mma), stream);
}

}  // namespace signstep::kernels
