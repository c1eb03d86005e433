// What windows see of images with their channels last (kernels.h, Window), element by element.
#pragma once

#include <cstdint>

#include "../ptx/device.h"
#include "kernels.h"

namespace signstep::kernels {
namespace {

using namespace signstep::device;

__device__ __host__ __forceinline__ std::int64_t image_elements(const Window& w) { return std::int64_t{w.height} * w.width * w.channels; }

// An element of what windows give, [images, rows_y, rows_x, channels], and one of the images.
struct WindowElement {
  std::int64_t image;
  std::int32_t row, column, channel;
};
struct PixelElement {
  std::int64_t image;
  std::int32_t y, x, channel;
};

__device__ __forceinline__ WindowElement window_element(const Window& w, std::int64_t i) {
  const std::int64_t position = i / w.channels, line = position / w.rows_x;
  return {line / w.rows_y, static_cast<std::int32_t>(line % w.rows_y), static_cast<std::int32_t>(position % w.rows_x),
          static_cast<std::int32_t>(i % w.channels)};
}
__device__ __forceinline__ PixelElement pixel_element(const Window& w, std::int64_t i) {
  const std::int64_t pixel = i / w.channels, line = pixel / w.width;
  return {line / w.height, static_cast<std::int32_t>(line % w.height), static_cast<std::int32_t>(pixel % w.width),
          static_cast<std::int32_t>(i % w.channels)};
}
__device__ __forceinline__ std::int64_t window_at(const Window& w, std::int64_t image, std::int32_t row, std::int32_t column) {
  return ((image * w.rows_y + row) * w.rows_x + column) * w.channels;
}

__device__ __forceinline__ bool inside(std::int32_t at, std::int32_t size) {
  return static_cast<std::uint32_t>(at) < static_cast<std::uint32_t>(size);
}

// body(tap, pixel of the image) for the taps that lie inside, in order.
template <class Body>
__device__ __forceinline__ void for_taps(const Window& w, std::int32_t row, std::int32_t column, Body&& body) {
  for (std::int32_t i = 0; i < w.taps_y; ++i) {
    const std::int32_t y = w.first_y + row * w.stride_y + i * w.step_y;
    if (!inside(y, w.height)) continue;
    for (std::int32_t j = 0; j < w.taps_x; ++j) {
      const std::int32_t x = w.first_x + column * w.stride_x + j * w.step_x;
      if (inside(x, w.width)) body(i * w.taps_x + j, std::int64_t{y} * w.width + x);
    }
  }
}

// body(tap, row, column) for the windows that see pixel (y, x), in the order of their taps.
template <class Body>
__device__ __forceinline__ void for_windows(const Window& w, std::int32_t y, std::int32_t x, Body&& body) {
  for (std::int32_t i = 0; i < w.taps_y; ++i) {
    const std::int32_t above = y - w.first_y - i * w.step_y;
    if (above < 0 || above % w.stride_y != 0 || above / w.stride_y >= w.rows_y) continue;
    for (std::int32_t j = 0; j < w.taps_x; ++j) {
      const std::int32_t left = x - w.first_x - j * w.step_x;
      if (left < 0 || left % w.stride_x != 0 || left / w.stride_x >= w.rows_x) continue;
      body(i * w.taps_x + j, above / w.stride_y, left / w.stride_x);
    }
  }
}

// What an average is divided by.
__device__ __forceinline__ float divisor(const Window& w, bool whole, std::int32_t row, std::int32_t column) {
  if (whole) return static_cast<float>(w.taps_y * w.taps_x);
  std::int32_t seen = 0;
  for_taps(w, row, column, [&](std::int32_t, std::int64_t) { ++seen; });
  return static_cast<float>(seen > 0 ? seen : 1);
}

}  // namespace
}  // namespace signstep::kernels
