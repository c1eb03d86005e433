// Counts bank conflicts. Lanes run one after another here, so the accesses of one instruction are found again by their position: the i-th
// access of every lane since the warp last met. Exact where the lanes of a warp take the same way.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "statistics.h"

namespace signstep::sim {

class BankConflicts {
 public:
  void begin_block();
  void access(std::uint32_t warp, std::uint32_t lane, std::size_t offset, std::size_t bytes, bool writes);
  // ldmatrix: eight rows of 16 bytes in a pass.
  void rows(const std::size_t (&offsets)[8]);
  void flush(std::uint32_t warp);  // the lanes meet
  Statistics statistics;

 private:
  struct Entry {
    std::uint32_t offset;
    std::uint8_t bytes;
    bool writes;
  };
  static constexpr std::size_t most_entries = 1 << 14;  // a lane that goes on longer without meeting is not followed further
  std::array<std::array<std::vector<Entry>, 32>, 32> log_;  // warp, lane
};

}  // namespace signstep::sim
