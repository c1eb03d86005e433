// The element types of 16 and 8 bits, the same in both builds: bits only, converted by the functions of the vocabulary. Without operators of
// their own, so that no kernel computes in them by accident.
#pragma once

#include <cstdint>

namespace signstep::device {

struct bf16 {
  std::uint16_t bits;
};
struct f16 {
  std::uint16_t bits;
};
// Sign, 4 bits of exponent (bias 7), 3 of mantissa; the largest is 448, there is no infinity, and all ones but for the sign is NaN.
struct e4m3 {
  std::uint8_t bits;
};
static_assert(sizeof(bf16) == 2 && sizeof(f16) == 2 && sizeof(e4m3) == 1);

inline constexpr float kLargestE4m3 = 448.0f;

}  // namespace signstep::device
