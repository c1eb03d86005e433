// Windows over images, one pixel after the other: what convolution() and the pools must compute.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "../cuda/kernels/kernels.h"

namespace window_oracle {

using signstep::kernels::Grid;
using signstep::kernels::Window;

inline std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }
inline std::int64_t positions(const Window& w) { return std::int64_t{w.rows_y} * w.rows_x; }
inline std::int64_t pixels(const Window& w) { return std::int64_t{w.height} * w.width; }

// body(tap, pixel of the image) for the taps of position `row` of an image that lie inside, in row-major order.
template <class Body>
void for_taps(const Window& w, std::int64_t row, const Body& body) {
  const std::int64_t top = w.first_y + row / w.rows_x * w.stride_y, left = w.first_x + row % w.rows_x * w.stride_x;
  for (int i = 0; i < w.taps_y; i++)
    for (int j = 0; j < w.taps_x; j++) {
      const std::int64_t y = top + i * w.step_y, x = left + j * w.step_x;
      if (y >= 0 && y < w.height && x >= 0 && x < w.width) body(i * w.taps_x + j, y * w.width + x);
    }
}

// The pixel of the grid that position `row` of all images is written to.
inline std::int64_t place(const Window& w, const Grid& grid, std::int64_t row) {
  const std::int64_t image = row / positions(w), y = row % positions(w) / w.rows_x, x = row % w.rows_x;
  return (image * grid.height + grid.first_y + y * grid.stride_y) * grid.width + grid.first_x + x * grid.stride_x;
}

// Sums [images * positions, n] of a [images, height, width, channels] by b [n, taps, channels], in Sum: float64, or float32 as one would
// write it down.
template <class Sum>
std::vector<Sum> products(const Window& w, int images, int n, const std::vector<float>& a, const std::vector<float>& b) {
  const std::size_t channels = size(w.channels), taps = size(w.taps_y) * size(w.taps_x);
  std::vector<Sum> sums(size(images) * size(positions(w)) * size(n));
  for (std::int64_t row = 0; row < images * positions(w); row++)
    for_taps(w, row % positions(w), [&](int tap, std::int64_t pixel) {
      const float* from = a.data() + size(row / positions(w) * pixels(w) + pixel) * channels;
      for (std::size_t column = 0; column < size(n); column++) {
        const float* by = b.data() + (column * taps + size(tap)) * channels;
        Sum& sum = sums[size(row) * size(n) + column];
        for (std::size_t c = 0; c < channels; c++) sum += static_cast<Sum>(from[c]) * static_cast<Sum>(by[c]);
      }
    });
  return sums;
}

// The pixel of each window and channel that is its first greatest, -1 where it sees none; [images * positions, channels].
inline std::vector<std::int64_t> greatest(const Window& w, int images, const std::vector<float>& in) {
  const std::size_t channels = size(w.channels);
  std::vector<std::int64_t> found(size(images) * size(positions(w)) * channels, -1);
  for (std::int64_t row = 0; row < images * positions(w); row++)
    for (std::size_t c = 0; c < channels; c++) {
      const auto at = [&](std::int64_t pixel) { return in[size(row / positions(w) * pixels(w) + pixel) * channels + c]; };
      std::int64_t& best = found[size(row) * channels + c];
      for_taps(w, row % positions(w), [&](int, std::int64_t pixel) {
        if (best < 0 || at(pixel) > at(best) || (std::isnan(at(pixel)) && !std::isnan(at(best)))) best = pixel;
      });
    }
  return found;
}

inline std::vector<float> max_pool(const Window& w, int images, const std::vector<float>& in) {
  const std::vector<std::int64_t> best = greatest(w, images, in);
  std::vector<float> out(best.size());
  const std::size_t channels = size(w.channels), image = size(positions(w)) * channels;
  for (std::size_t i = 0; i < out.size(); i++)
    out[i] = best[i] < 0 ? -std::numeric_limits<float>::infinity()
                         : in[(i / image * size(pixels(w)) + size(best[i])) * channels + i % channels];
  return out;
}

inline std::vector<double> max_pool_backward(const Window& w, int images, const std::vector<float>& x, const std::vector<float>& dy) {
  const std::vector<std::int64_t> best = greatest(w, images, x);
  std::vector<double> dx(x.size());
  const std::size_t channels = size(w.channels), image = size(positions(w)) * channels;
  for (std::size_t i = 0; i < best.size(); i++)
    if (best[i] >= 0) dx[(i / image * size(pixels(w)) + size(best[i])) * channels + i % channels] += static_cast<double>(dy[i]);
  return dx;
}

// What each tap of position `row` counts in an average; 0 where there is none.
inline double share(const Window& w, bool whole, std::int64_t row) {
  int inside = 0;
  for_taps(w, row, [&](int, std::int64_t) { inside++; });
  return inside == 0 ? 0 : 1.0 / (whole ? w.taps_y * w.taps_x : inside);
}

inline std::vector<double> average_pool(const Window& w, int images, bool whole, const std::vector<float>& in) {
  const std::size_t channels = size(w.channels);
  std::vector<double> out(size(images) * size(positions(w)) * channels);
  for (std::int64_t row = 0; row < images * positions(w); row++) {
    const double part = share(w, whole, row % positions(w));
    for_taps(w, row % positions(w), [&](int, std::int64_t pixel) {
      const float* from = in.data() + size(row / positions(w) * pixels(w) + pixel) * channels;
      for (std::size_t c = 0; c < channels; c++) out[size(row) * channels + c] += part * static_cast<double>(from[c]);
    });
  }
  return out;
}

inline std::vector<double> average_pool_backward(const Window& w, int images, bool whole, const std::vector<float>& dy) {
  const std::size_t channels = size(w.channels);
  std::vector<double> dx(size(images) * size(pixels(w)) * channels);
  for (std::int64_t row = 0; row < images * positions(w); row++) {
    const double part = share(w, whole, row % positions(w));
    for_taps(w, row % positions(w), [&](int, std::int64_t pixel) {
      double* to = dx.data() + size(row / positions(w) * pixels(w) + pixel) * channels;
      for (std::size_t c = 0; c < channels; c++) to[c] += part * static_cast<double>(dy[size(row) * channels + c]);
    });
  }
  return dx;
}

}  // namespace window_oracle
