// How every kernel walks its arrays and adds up: sixteen elements at a time, whatever the width of the lanes. That makes sums the
// same on all instruction sets.
#pragma once

#include <cstddef>
#include <cstring>

#include "../kernel_table.h"

namespace signstep {
namespace {

constexpr std::size_t kLanes = 16;

// The last, incomplete sixteen of one array, filled up with zeros: they add nothing to a sum and count as nothing.
template <class T>
struct Tail {
  float value[kLanes] = {};

  Tail(const T* source, std::size_t n) { std::memcpy(value, source, n * sizeof(float)); }
  void put_back(float* target, std::size_t n) const { std::memcpy(target, value, n * sizeof(float)); }
  void put_back(const float*, std::size_t) const {}
};

template <class Block, class... T>
void run_tail(std::size_t n, Block& block, T*... array) {
  const auto run = [&](Tail<T>... tail) {
    block(tail.value...);
    (tail.put_back(array, n), ...);
  };
  run(Tail<T>(array, n)...);
}

// Calls block(pointers…) for each sixteen elements of arrays of n; const arrays are read, the others read and written.
template <class Block, class... T>
void for_blocks(std::size_t n, Block block, T*... array) {
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) block((array + i)...);
  if (i < n) run_tail(n - i, block, (array + i)...);
}

// Sixteen float64 sums, one per lane of a block.
template <class V>
struct LaneSums {
  typename V::D lane[kLanes / V::kWidth];

  LaneSums() {
    for (auto& d : lane) d = V::dzero();
  }
  // `i`: place of the lanes in their block, a multiple of the width.
  void add(std::size_t i, typename V::D value) { lane[i / V::kWidth] = V::dadd(lane[i / V::kWidth], value); }

  double total() const {
    double value[kLanes];
    for (std::size_t i = 0; i < kLanes; i += V::kWidth) V::dstore(value + i, lane[i / V::kWidth]);
    for (std::size_t half = kLanes / 2; half > 0; half /= 2)
      for (std::size_t i = 0; i < half; ++i) value[i] += value[i + half];
    return value[0];
  }
};

// NaN and nonzero elements of a gradient.
template <class V>
struct LaneCounts {
  typename V::I nan = V::count_zero();
  typename V::I nonzero = V::count_zero();

  void add(typename V::F g, typename V::M without_value) {
    nan = V::count(nan, without_value);
    nonzero = V::count(nonzero, V::is_nonzero(g));
  }
  GradientCounts total() const { return {V::count_sum(nan), V::count_sum(nonzero)}; }
};

// The range of pixels. The bounds come first, so that a NaN pixel stays NaN.
template <class V>
typename V::F clamp_pixel(typename V::F x) {
  return V::min(V::set(1.0f), V::max(V::set(0.0f), x));
}

// move·sign(g): 0 where g is 0 or NaN.
template <class V>
typename V::F move_along_sign(typename V::F g, typename V::F move, typename V::F back) {
  const auto zero = V::set(0.0f);
  return V::select(V::less(zero, g), move, V::select(V::less(g, zero), back, zero));
}

// The nearest point to x of the L-infinity ball around x0 that is an image.
template <class V>
typename V::F project_linf(typename V::F x, typename V::F x0, typename V::F eps) {
  return clamp_pixel<V>(V::min(V::add(x0, eps), V::max(V::sub(x0, eps), x)));
}

// NaN or infinite: no use where magnitudes matter.
template <class V>
typename V::M is_not_finite(typename V::F g) {
  return V::is_nan(V::sub(g, g));
}

}  // namespace
}  // namespace signstep
