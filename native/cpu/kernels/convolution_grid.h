// Where the windows of a convolution are written.
#pragma once

#include <cstdint>

#include "../../cuda/kernels/kernels.h"

namespace signstep::kernels {

// The pixel of images [images, height, width] that window (y, x) of an image is.
inline std::int64_t place(const Grid& grid, std::int64_t image, std::int32_t y, std::int32_t x) {
  const std::int64_t line = image * grid.height + grid.first_y + std::int64_t{y} * grid.stride_y;
  return line * grid.width + grid.first_x + std::int64_t{x} * grid.stride_x;
}

}  // namespace signstep::kernels
