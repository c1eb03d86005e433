// Random weights for plans that carry none (bench/gpu/plans.js): every constant of at least 4,096 numbers, each number times a normal one.
// What is smaller (biases, scales, indices) is real already. The checksum is made right again.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <set>
#include <vector>

#include "../../native/core/program/crc32.h"
#include "../../native/core/program/program.h"

namespace bench {

inline constexpr std::int64_t kLeastRandomised = 4096;

class Normal {
 public:
  explicit Normal(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15u + 1) {}
  // The sum of four uniform numbers, scaled: near enough to a bell for timing, and 86 million of them take a second.
  float next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    std::int32_t sum = -2 * 65535;
    for (int i = 0; i < 4; ++i) sum += static_cast<std::int32_t>((state_ >> (16 * i)) & 0xFFFF);
    return static_cast<float>(sum) * (1.7320508f / 65536.0f);
  }

 private:
  std::uint64_t state_;
};

inline void randomise_weights(std::vector<std::uint8_t>& plan, std::uint64_t seed) {
  namespace program = signstep::program;
  const program::Program parsed = program::parse_plan(plan.data(), plan.size());
  const auto data = static_cast<std::size_t>(parsed.data - plan.data());
  std::set<std::uint64_t> seen;  // one tensor may be stored twice: as it is and transposed
  Normal normal(seed);
  for (const program::Buffer& buffer : parsed.buffers) {
    if (buffer.storage == program::Storage::activation || buffer.type == program::ElementType::int32) continue;
    if (buffer.elements < kLeastRandomised || !seen.insert(buffer.data).second) continue;
    for (std::int64_t i = 0; i < buffer.elements; ++i) {
      std::uint8_t* at = plan.data() + data + buffer.data + 4 * i;
      float value;
      std::memcpy(&value, at, 4);
      value *= normal.next();
      std::memcpy(at, &value, 4);
    }
  }
  const std::uint32_t checksum = program::crc32(plan.data() + 16, plan.size() - 16);
  std::memcpy(plan.data() + 12, &checksum, 4);
}

}  // namespace bench
