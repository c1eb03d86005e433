// Batches of images, as the engine's calls hand them over and the kernels take them.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>

#include "../../core/program/program.h"
#include "../kernels/kernels.h"

namespace signstep::engine {

[[noreturn]] inline void refuse(const std::string& message) { throw rt::Failure{rt::Failure::Kind::invalid, message}; }

inline std::int64_t elements_of(const program::Header& header) {
  return static_cast<std::int64_t>(header.channels) * header.height * header.width;
}

inline void check_finite(const float* images, std::int64_t count, std::int64_t elements) {
  for (std::int64_t i = 0; i < count * elements; ++i)
    if (!std::isfinite(images[i])) refuse("images: expected finite pixels, found a NaN or infinity in image " + std::to_string(i / elements));
}

// The shapes alone.
inline kernels::Images images_like(const program::Header& header, std::int64_t batch, kernels::Precision precision, const std::int32_t* live) {
  kernels::Images images;
  images.precision = precision;
  images.images = static_cast<std::int32_t>(batch);
  images.channels = static_cast<std::int32_t>(header.channels);
  images.height = static_cast<std::int32_t>(header.height);
  images.width = static_cast<std::int32_t>(header.width);
  images.patch = static_cast<std::int32_t>(header.patch);
  images.live = live;
  return images;
}

}  // namespace signstep::engine
