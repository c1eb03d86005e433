// Which random numbers a start draws.
#pragma once

#include "../philox.h"
#include "signstep/signstep.h"

namespace signstep {

inline PhiloxStream stream_of(const signstep_start& start, std::size_t sample, signstep_purpose purpose) {
  return {
      .key = {static_cast<std::uint32_t>(start.seed), static_cast<std::uint32_t>(start.seed >> 32)},
      .sample = static_cast<std::uint32_t>(start.sample_indices[sample]),
      .step = 0,
      .restart_and_purpose = start.restart << 8 | static_cast<std::uint32_t>(purpose),
  };
}

}  // namespace signstep
