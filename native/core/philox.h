// Philox4x32-10, one block at a time. The vector form in kernels/philox_words.h is the same arithmetic on many blocks.
#pragma once

#include <cstdint>

namespace signstep {

// Multipliers and Weyl constants of Philox4x32 (Salmon et al., SC 2011, table 2 and section 3.3).
inline constexpr std::uint32_t kPhiloxM0 = 0xD2511F53u;
inline constexpr std::uint32_t kPhiloxM1 = 0xCD9E8D57u;
inline constexpr std::uint32_t kPhiloxW0 = 0x9E3779B9u;
inline constexpr std::uint32_t kPhiloxW1 = 0xBB67AE85u;
inline constexpr int kPhiloxRounds = 10;

// Which sequence of random numbers: everything of key and counter except the element.
struct PhiloxStream {
  std::uint32_t key[2];
  std::uint32_t sample;
  std::uint32_t step;
  std::uint32_t restart_and_purpose;
};

struct PhiloxBlock {
  std::uint32_t word[4];
};

// In philox.cc and not inline: translation units with wider instruction sets include this header too.
PhiloxBlock philox4x32_10(PhiloxBlock counter, std::uint32_t key0, std::uint32_t key1);

}  // namespace signstep
