// The three passes of PGD's L2 step: the norm of the gradient, the move and the distance it leads to, the projection.
#pragma once

#include "blocks.h"

namespace signstep {
namespace {

template <class V>
GradientSum sum_squares(const float* g, std::size_t n) {
  const auto zero = V::set(0.0f);
  LaneCounts<V> counts;
  LaneSums<V> sums;
  for_blocks(
      n,
      [&](const float* pg) {
        for (std::size_t i = 0; i < kLanes; i += V::kWidth) {
          const auto gradient = V::load(pg + i);
          const auto useless = is_not_finite<V>(gradient);
          const auto wide = V::widen(V::select(useless, zero, gradient));
          sums.add(i, V::dmul(wide, wide));
          counts.add(gradient, useless);
        }
      },
      g);
  return {sums.total(), counts.total()};
}

template <class V>
double move_l2(float* x, const float* x0, const float* g, std::size_t n, float move, float norm) {
  const auto length = V::set(move), unit = V::set(norm), zero = V::set(0.0f);
  LaneSums<V> sums;
  for_blocks(
      n,
      [&](float* px, const float* px0, const float* pg) {
        for (std::size_t i = 0; i < kLanes; i += V::kWidth) {
          const auto gradient = V::load(pg + i);
          const auto step = V::mul(length, V::div(gradient, unit));
          const auto moved = V::add(V::load(px + i), V::select(is_not_finite<V>(gradient), zero, step));
          V::store(px + i, moved);
          const auto away = V::dsub(V::widen(moved), V::widen(V::load(px0 + i)));
          sums.add(i, V::dmul(away, away));
        }
      },
      x, x0, g);
  return sums.total();
}

template <class V>
void project_l2(float* x, const float* x0, std::size_t n, float factor) {
  const auto shrink = V::set(factor);
  for_blocks(
      n,
      [&](float* px, const float* px0) {
        for (std::size_t i = 0; i < kLanes; i += V::kWidth) {
          const auto centre = V::load(px0 + i);
          const auto away = V::sub(V::load(px + i), centre);
          V::store(px + i, clamp_pixel<V>(V::add(centre, V::mul(shrink, away))));
        }
      },
      x, x0);
}

template <class V>
void clamp(float* x, std::size_t n) {
  for_blocks(
      n,
      [](float* px) {
        for (std::size_t i = 0; i < kLanes; i += V::kWidth) V::store(px + i, clamp_pixel<V>(V::load(px + i)));
      },
      x);
}

}  // namespace
}  // namespace signstep
