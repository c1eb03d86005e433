// Philox4x32-10 (Salmon et al., SC 2011), one block a thread: the arithmetic of native/core/philox.cc.
#pragma once

#include <cstdint>

#include "../../core/philox.h"
#include "../ptx/device.h"

namespace signstep::kernels {

using namespace signstep::device;

// Everything of key and counter except the element.
__device__ __forceinline__ PhiloxBlock philox_block(const PhiloxStream& stream, std::uint32_t block) {
  std::uint32_t c0 = block, c1 = stream.sample, c2 = stream.step, c3 = stream.restart_and_purpose;
  std::uint32_t key0 = stream.key[0], key1 = stream.key[1];
#pragma unroll
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const std::uint32_t high0 = __umulhi(kPhiloxM0, c0), low0 = kPhiloxM0 * c0;
    const std::uint32_t high1 = __umulhi(kPhiloxM1, c2), low1 = kPhiloxM1 * c2;
    c0 = high1 ^ c1 ^ key0;
    c1 = low1;
    c2 = high0 ^ c3 ^ key1;
    c3 = low0;
    key0 += kPhiloxW0;
    key1 += kPhiloxW1;
  }
  return {{c0, c1, c2, c3}};
}

}  // namespace signstep::kernels
