// Random numbers of a group of four positions of the layout, keyed by seed, sample, restart, purpose and element in planes order.
#pragma once

#include <cstdint>

#include "../../include/signstep/signstep.h"
#include "image_layout.cuh"
#include "philox.cuh"

namespace signstep::kernels {

// Seed and restart are read here, on the device: a recorded graph is replayed with others.
__device__ __forceinline__ PhiloxStream stream_of(const StartRule& rule, std::uint32_t image, signstep_purpose purpose) {
  const std::uint64_t seed = *rule.seed;
  return {{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
          static_cast<std::uint32_t>(rule.sample_indices[image]),
          0,
          *rule.restart << 8 | static_cast<std::uint32_t>(purpose)};
}

// number(even word, odd word, odd) makes an element of the pair of words it belongs to. Where four neighbours of the layout are no block of
// Philox (a patch side that is no multiple of four) a block is computed for each pair, or element, of them: rare shapes, once an attack.
template <int kWidth, class Number>
__device__ __forceinline__ void random_group(const PhiloxStream& stream, const ImageLayout& layout, std::uint32_t at, Number&& number, float (&to)[4]) {
#pragma unroll
  for (int part = 0; part < 4; part += kWidth) {
    const std::uint32_t element = layout.to_planes(at + static_cast<std::uint32_t>(part));
    const PhiloxBlock block = philox_block(stream, element / 4);
    if constexpr (kWidth == 4) {
      to[0] = number(block.word[0], block.word[1], false), to[1] = number(block.word[0], block.word[1], true);
      to[2] = number(block.word[2], block.word[3], false), to[3] = number(block.word[2], block.word[3], true);
    } else {
      const bool second = (element & 2) != 0;
      const std::uint32_t even = second ? block.word[2] : block.word[0], odd = second ? block.word[3] : block.word[1];
      if constexpr (kWidth == 2)
        to[part] = number(even, odd, false), to[part + 1] = number(even, odd, true);
      else
        to[part] = number(even, odd, (element & 1) != 0);
    }
  }
}

}  // namespace signstep::kernels
