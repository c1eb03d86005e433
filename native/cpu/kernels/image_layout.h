// Images in the layout that the model's first product reads, and as planes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "elements.h"

namespace signstep::kernels {

// Calls body(position in planes, position in layout, length) for runs that are dense in both, of one image.
template <class Body>
void each_run(const Images& images, Body&& body) {
  const std::int64_t width = images.width, plane = width * images.height, side = images.patch;
  if (side == 0) return body(std::int64_t{0}, std::int64_t{0}, images.elements());
  const std::int64_t area = side * side, patch_elements = images.channels * area, across = width / side;
  for (std::int64_t channel = 0; channel < images.channels; ++channel)
    for (std::int64_t row = 0; row < images.height; ++row)
      for (std::int64_t patch = 0; patch < across; ++patch)
        body(channel * plane + row * width + patch * side,
             (row / side * across + patch) * patch_elements + channel * area + row % side * side, side);
}

inline std::int32_t live_images(const Images& images) {
  return images.live == nullptr ? images.images : std::min(*images.live, images.images);
}

inline void to_planes(const Images& images, const float* from, float* planes) {
  each_run(images, [&](std::int64_t plane, std::int64_t at, std::int64_t n) { std::copy(from + at, from + at + n, planes + plane); });
}
inline void from_planes(const Images& images, const float* planes, float* to) {
  each_run(images, [&](std::int64_t plane, std::int64_t at, std::int64_t n) { std::copy(planes + plane, planes + plane + n, to + at); });
}

// The operand of the first product, where there is one, follows x.
inline void write_operand(const Images& images, std::int64_t image) {
  if (images.operand == nullptr) return;
  const std::int64_t elements = images.elements();
  const float* x = images.x + image * elements;
  with_type(images.precision, program::ElementType::value, [&]<class T>(Element<T>) {
    T* to = static_cast<T*>(images.operand) + image * elements;
    for (std::int64_t i = 0; i < elements; ++i) to[i] = from_float<T>(x[i]);
  });
}

// Calls body(image) for every image under attack.
template <class Body>
void each_image(const Images& images, const Body& body) {
  const std::int32_t count = live_images(images);
  if (count > 0) cpu::parallel(static_cast<std::size_t>(count), [&](std::size_t image) { body(static_cast<std::int64_t>(image)); });
}

inline void check_images(const Images& images, const char* kernel) {
  if (images.images < 0 || images.channels <= 0 || images.height <= 0 || images.width <= 0 || images.patch < 0)
    refuse(kernel, "expected positive channels, height and width, and no negative number of images or patch");
  if (images.patch != 0 && (images.height % images.patch != 0 || images.width % images.patch != 0))
    refuse(kernel, "height and width must be multiples of the patch");
  // The same limit as on a GPU, whose indices within an image are 32-bit numbers.
  if (images.elements() > 0x7FFFFFFF - 65536) refuse(kernel, "an image has too many elements: at most 2147418111");
}

}  // namespace signstep::kernels
