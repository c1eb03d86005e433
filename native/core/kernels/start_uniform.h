// out = clamp(x0 + (2u - 1)·radius): the random start of PGD, RS-FGSM and N-FGSM.
#pragma once

#include "philox_words.h"

namespace signstep {
namespace {

template <class V>
void start_uniform(float* out, const float* x0, std::size_t n, float radius, const PhiloxStream& stream, std::size_t first) {
  // 2u - 1 = ((word >> 8) - 2^23)·2^-23: the power of two goes into the radius, which changes no bit and saves a product.
  const auto half = V::set(0x1p23f), reach = V::set(radius * 0x1p-23f);
  for_words<V>(n, stream, first, [&](const std::uint32_t (&words)[kWords], std::size_t start, std::size_t length) {
    std::size_t at = 0;
    for_blocks(
        length,
        [&](float* po, const float* px0) {
          for (std::size_t i = 0; i < kLanes; i += V::kWidth) {
            const auto u = V::sub(V::to_float(V::shift_right_8(V::load_words(words, at + i))), half);
            V::store(po + i, clamp_pixel<V>(V::add(V::load(px0 + i), V::mul(u, reach))));
          }
          at += kLanes;
        },
        out + start, x0 + start);
  });
}

}  // namespace
}  // namespace signstep
