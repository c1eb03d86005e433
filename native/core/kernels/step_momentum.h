// The two passes of MI-FGSM's step: the mean magnitude of the gradient, then momentum and move.
#pragma once

#include "blocks.h"

namespace signstep {
namespace {

template <class V>
GradientSum sum_magnitudes(const float* g, std::size_t n) {
  const auto zero = V::set(0.0f);
  LaneCounts<V> counts;
  LaneSums<V> sums;
  for_blocks(
      n,
      [&](const float* pg) {
        for (std::size_t i = 0; i < kLanes; i += V::kWidth) {
          const auto gradient = V::load(pg + i);
          const auto useless = is_not_finite<V>(gradient);
          sums.add(i, V::widen(V::select(useless, zero, V::abs(gradient))));
          counts.add(gradient, useless);
        }
      },
      g);
  return {sums.total(), counts.total()};
}

template <class V>
void step_momentum(float* x, const float* x0, const float* g, float* momentum, std::size_t n, float move, float eps, float decay,
                   float mean) {
  const auto forth = V::set(move), back = V::set(-move), radius = V::set(eps);
  const auto kept = V::set(decay), unit = V::set(mean), zero = V::set(0.0f);
  for_blocks(
      n,
      [&](float* px, const float* px0, const float* pg, float* pm) {
        for (std::size_t i = 0; i < kLanes; i += V::kWidth) {
          const auto gradient = V::load(pg + i);
          const auto useless = is_not_finite<V>(gradient);
          const auto fresh = V::select(useless, zero, V::div(gradient, unit));
          const auto sum = V::add(V::mul(kept, V::load(pm + i)), fresh);
          V::store(pm + i, sum);
          const auto step = V::select(useless, zero, move_along_sign<V>(sum, forth, back));
          V::store(px + i, project_linf<V>(V::add(V::load(px + i), step), V::load(px0 + i), radius));
        }
      },
      x, x0, g, momentum);
}

}  // namespace
}  // namespace signstep
