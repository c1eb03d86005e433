// radius/length as a float32 that never leads outside the ball.
#pragma once

#include <algorithm>
#include <cmath>

namespace signstep {

inline float shrink_factor(double radius, double length) {
  length = std::max(length, 1e-12);
  const float factor = static_cast<float>(radius / length);
  return factor * length > radius ? std::nextafter(factor, 0.0f) : factor;
}

}  // namespace signstep
