// Gaussian numbers from Philox words by Box and Muller, with a logarithm and a sine of our own: the ones of the C library differ
// between systems. float32 throughout, no fused multiply-add; the order of operations is part of the definition.
#pragma once

#include "philox_words.h"

namespace signstep {
namespace {

// ln u for u in (0,1], normal. Relative error below 1.2e-7: u = m·2^e with m in [√½, √2), polynomial of Cephes' logf (Moshier).
template <class V>
typename V::F log_unit(typename V::F u) {
  constexpr std::int32_t kRootHalf = 0x3F3504F3;  // bits of √½
  const auto e = V::shift_right_23_signed(V::isub(V::bits(u), V::iset(kRootHalf)));
  const auto exponent = V::to_float(e);
  const auto f = V::sub(V::from_bits(V::isub(V::bits(u), V::shift_left_23(e))), V::set(1.0f));
  constexpr float kCoefficients[] = {-1.1514610310e-1f, 1.1676998740e-1f,  -1.2420140846e-1f, 1.4249322787e-1f,
                                     -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f};
  auto p = V::set(7.0376836292e-2f);
  for (const float coefficient : kCoefficients) p = V::add(V::mul(p, f), V::set(coefficient));
  const auto square = V::mul(f, f);
  // ln 2 in two parts, the larger with few bits, so that exponent·0.693359375 is exact.
  auto low = V::mul(V::mul(p, f), square);
  low = V::add(low, V::mul(exponent, V::set(-2.12194440e-4f)));
  low = V::sub(low, V::mul(V::set(0.5f), square));
  return V::add(V::add(f, low), V::mul(exponent, V::set(0.693359375f)));
}

// sin(2πq) for q in [-¼, ¼]: Taylor's polynomial; the first term left out is below 1e-9.
template <class V>
typename V::F sin_turn(typename V::F q) {
  constexpr float kCoefficients[] = {-15.09464257682f, 42.05869394489f, -76.70585975306f,
                                     81.60524927608f,  -41.34170224040f, 6.28318530718f};
  const auto t = V::mul(q, q);
  auto p = V::set(3.81995258485f);
  for (const float coefficient : kCoefficients) p = V::add(V::mul(p, t), V::set(coefficient));
  return V::mul(p, q);
}

template <class V>
double gaussian(float* out, std::size_t n, const PhiloxStream& stream, std::size_t first) {
  const auto unit = V::set(0x1p-24f), one = V::set(1.0f), quarter = V::set(0.25f);
  LaneSums<V> sums;
  for_words<V>(n, stream, first, [&](const std::uint32_t (&words)[kWords], std::size_t start, std::size_t length) {
    float numbers[kWords];
    for (std::size_t i = 0; i < kWords; i += V::kWidth) {
      const auto first_word = V::iadd(V::shift_right_8(V::load_even_words(words, i)), V::iset(1));
      const auto radius = V::sqrt(V::mul(V::set(-2.0f), log_unit<V>(V::mul(V::to_float(first_word), unit))));
      // cos(2πv) = sin(2π(¼ - min(|v|, 1 - |v|))): no quadrants to tell apart, and all differences are exact.
      const auto turn = V::mul(V::to_float(V::shift_right_8(V::load_odd_words(words, i))), unit);
      const auto v = V::abs(V::sub(turn, V::quarter_at_odd(i)));
      const auto q = V::sub(quarter, V::min(v, V::sub(one, v)));
      V::store(numbers + i, V::mul(radius, sin_turn<V>(q)));
    }
    std::memcpy(out + start, numbers, length * sizeof(float));
    for_blocks(
        length,
        [&](const float* z) {
          for (std::size_t i = 0; i < kLanes; i += V::kWidth) {
            const auto wide = V::widen(V::load(z + i));
            sums.add(i, V::dmul(wide, wide));
          }
        },
        static_cast<const float*>(numbers));
  });
  return sums.total();
}

template <class V>
void start_l2(float* out, const float* x0, std::size_t n, float factor) {
  const auto stretch = V::set(factor);
  for_blocks(
      n,
      [&](float* po, const float* px0) {
        for (std::size_t i = 0; i < kLanes; i += V::kWidth)
          V::store(po + i, clamp_pixel<V>(V::add(V::load(px0 + i), V::mul(stretch, V::load(po + i)))));
      },
      out, x0);
}

}  // namespace
}  // namespace signstep
