// The largest magnitude and the sum of squares of a - b.
#pragma once

#include "blocks.h"

namespace signstep {
namespace {

template <class V>
Distance distance(const float* a, const float* b, std::size_t n) {
  typename V::F largest[kLanes / V::kWidth];
  for (auto& lane : largest) lane = V::set(0.0f);
  LaneSums<V> sums;
  for_blocks(
      n,
      [&](const float* pa, const float* pb) {
        for (std::size_t i = 0; i < kLanes; i += V::kWidth) {
          const auto va = V::load(pa + i), vb = V::load(pb + i);
          auto& lane = largest[i / V::kWidth];
          lane = V::max(V::abs(V::sub(va, vb)), lane);
          const auto away = V::dsub(V::widen(va), V::widen(vb));
          sums.add(i, V::dmul(away, away));
        }
      },
      a, b);
  Distance result{0.0f, sums.total()};
  float value[V::kWidth];
  for (const auto& lane : largest) {
    V::store(value, lane);
    for (const float v : value) result.largest = v > result.largest ? v : result.largest;
  }
  return result;
}

}  // namespace
}  // namespace signstep
