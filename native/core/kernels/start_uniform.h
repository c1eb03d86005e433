// out = clamp(x0 + (2u - 1)·radius): the random start of PGD, RS-FGSM and N-FGSM.
#pragma once

#include "philox_words.h"

namespace signstep {
namespace {

template <class V>
void start_uniform(float* out, const float* x0, std::size_t n, float radius, const PhiloxStream& stream, std::size_t first) {
  const auto reach = V::set(radius), one = V::set(1.0f), unit = V::set(0x1p-23f);
  for_words<V>(n, stream, first, [&](const std::uint32_t (&words)[kWords], std::size_t start, std::size_t length) {
    std::size_t at = 0;
    for_blocks(
        length,
        [&](float* po, const float* px0) {
          for (std::size_t i = 0; i < kLanes; i += V::kWidth) {
            // (word >> 8)·2^-23 - 1 = 2u - 1, exactly.
            const auto u = V::sub(V::mul(V::to_float(V::shift_right_8(V::load_words(words, at + i))), unit), one);
            V::store(po + i, clamp_pixel<V>(V::add(V::load(px0 + i), V::mul(u, reach))));
          }
          at += kLanes;
        },
        out + start, x0 + start);
  });
}

}  // namespace
}  // namespace signstep
