// Sizes and places of the plan file's parts: see program.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "program.h"

namespace signstep::program {

inline constexpr char kMagic[8] = {'S', 'I', 'G', 'N', 'P', 'L', 'A', 'N'};
inline constexpr std::size_t kVersionAt = 8, kCrcAt = 12, kSizeAt = 16, kCountsAt = 24, kDataAt = 40, kHeaderAt = 56, kBuffersAt = 104;
inline constexpr std::size_t kBufferBytes = 40, kStepBytes = 456, kDataAlignment = 64;
inline constexpr std::size_t kHeaderFields = 11;

static_assert(kHeaderAt + 4 * kHeaderFields + 4 == kBuffersAt);
static_assert(4 + 4 * kBuffers + 4 + 8 * kInts + 4 * kFloats + kNameBytes == kStepBytes);

}  // namespace signstep::program
