// How launches are run from now on, in the whole process.
#pragma once

#include <cstdint>

namespace signstep::sim {

struct Schedule {
  std::uint32_t seed = 0;  // 0: warps and lanes in order; otherwise a random order
  bool check = false;      // races, bounds, alignment, late copies, groups, fences, bank conflicts
};

Schedule current_schedule();
void set_schedule(Schedule schedule);

}  // namespace signstep::sim
