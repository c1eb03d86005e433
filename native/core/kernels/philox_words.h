// Sixty-four Philox4x32-10 words at a time: sixteen blocks, as many side by side as the lanes hold.
#pragma once

#include "../philox.h"
#include "blocks.h"

namespace signstep {
namespace {

constexpr std::size_t kWords = 64;

// What is the same in all blocks of a stream. The keys of all rounds as vectors: broadcasting them for each
// block anew made a uniform start a fifth slower.
template <class V>
struct PhiloxLanes {
  typename V::P key0[kPhiloxRounds], key1[kPhiloxRounds];
  typename V::P sample, step, restart_and_purpose;

  explicit PhiloxLanes(const PhiloxStream& stream)
      : sample(V::pset(stream.sample)), step(V::pset(stream.step)), restart_and_purpose(V::pset(stream.restart_and_purpose)) {
    for (int round = 0; round < kPhiloxRounds; ++round) {
      key0[round] = V::pset(stream.key[0] + static_cast<std::uint32_t>(round) * kPhiloxW0);
      key1[round] = V::pset(stream.key[1] + static_cast<std::uint32_t>(round) * kPhiloxW1);
    }
  }

  // out[i] = the word of element first + i; `first` is a multiple of 64.
  void words(std::uint32_t (&out)[kWords], std::size_t first) const {
    const auto m0 = V::pset(kPhiloxM0), m1 = V::pset(kPhiloxM1);
    for (std::size_t word = 0; word < kWords; word += 4 * V::kBlocks) {
      auto c0 = V::block_numbers(static_cast<std::uint32_t>((first + word) / 4));
      auto c1 = sample, c2 = step, c3 = restart_and_purpose;
#pragma GCC unroll 10
      for (int round = 0; round < kPhiloxRounds; ++round) {
        const auto p0 = V::multiply(m0, c0), p1 = V::multiply(m1, c2);
        c0 = V::xor3(V::high(p1), c1, key0[round]);
        c2 = V::xor3(V::high(p0), c3, key1[round]);
        c1 = p1;
        c3 = p0;
      }
      V::store_blocks(out + word, c0, c1, c2, c3);
    }
  }
};

// Calls body(words, i, length) for each 64 elements [i, i + length) of a run that begins at element `first` of its sample.
template <class V, class Body>
void for_words(std::size_t n, const PhiloxStream& stream, std::size_t first, Body body) {
  const PhiloxLanes<V> lanes(stream);
  std::uint32_t words[kWords];
  for (std::size_t i = 0; i < n; i += kWords) {
    lanes.words(words, first + i);
    body(words, i, n - i < kWords ? n - i : kWords);
  }
}

}  // namespace
}  // namespace signstep
