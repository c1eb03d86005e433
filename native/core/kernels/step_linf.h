// x = clamp(project(x + move·sign(g))): the step of FGSM and PGD, in one pass.
#pragma once

#include "blocks.h"

namespace signstep {
namespace {

template <class V>
GradientCounts step_linf(float* x, const float* x0, const float* g, std::size_t n, float move, float eps) {
  const auto forth = V::set(move), back = V::set(-move), radius = V::set(eps);
  LaneCounts<V> counts;
  for_blocks(
      n,
      [&](float* px, const float* px0, const float* pg) {
        for (std::size_t i = 0; i < kLanes; i += V::kWidth) {
          const auto gradient = V::load(pg + i);
          const auto moved = V::add(V::load(px + i), move_along_sign<V>(gradient, forth, back));
          V::store(px + i, project_linf<V>(moved, V::load(px0 + i), radius));
          counts.add(gradient, V::is_nan(gradient));
        }
      },
      x, x0, g);
  return counts.total();
}

}  // namespace
}  // namespace signstep
