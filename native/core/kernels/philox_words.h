// Sixty-four Philox4x32-10 words at a time: sixteen blocks, as many side by side as the lanes hold.
#pragma once

#include "../philox.h"
#include "blocks.h"

namespace signstep {
namespace {

constexpr std::size_t kWords = 64;

// out[i] = the word of element first + i; `first` is a multiple of 64.
template <class V>
void philox_words(std::uint32_t (&out)[kWords], const PhiloxStream& stream, std::size_t first) {
  const auto m0 = V::pset(kPhiloxM0), m1 = V::pset(kPhiloxM1);
  for (std::size_t word = 0; word < kWords; word += 4 * V::kBlocks) {
    auto c0 = V::block_numbers(static_cast<std::uint32_t>((first + word) / 4));
    auto c1 = V::pset(stream.sample), c2 = V::pset(stream.step), c3 = V::pset(stream.restart_and_purpose);
    std::uint32_t key0 = stream.key[0], key1 = stream.key[1];
    for (int round = 0; round < kPhiloxRounds; ++round) {
      const auto p0 = V::multiply(m0, c0), p1 = V::multiply(m1, c2);
      c0 = V::xor3(V::high(p1), c1, V::pset(key0));
      c2 = V::xor3(V::high(p0), c3, V::pset(key1));
      c1 = p1;
      c3 = p0;
      key0 += kPhiloxW0;
      key1 += kPhiloxW1;
    }
    V::store_blocks(out + word, c0, c1, c2, c3);
  }
}

// Calls body(words, i, length) for each 64 elements [i, i + length) of a run that begins at element `first` of its sample.
template <class V, class Body>
void for_words(std::size_t n, const PhiloxStream& stream, std::size_t first, Body body) {
  std::uint32_t words[kWords];
  for (std::size_t i = 0; i < n; i += kWords) {
    philox_words<V>(words, stream, first + i);
    body(words, i, n - i < kWords ? n - i : kWords);
  }
}

}  // namespace
}  // namespace signstep
