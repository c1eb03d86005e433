// The 16-bit element types, the same in both builds: bits only, converted by the functions of the vocabulary. Without operators of their own,
// so that no kernel computes in 16 bits by accident.
#pragma once

#include <cstdint>

namespace signstep::device {

struct bf16 {
  std::uint16_t bits;
};
struct f16 {
  std::uint16_t bits;
};
static_assert(sizeof(bf16) == 2 && sizeof(f16) == 2);

}  // namespace signstep::device
