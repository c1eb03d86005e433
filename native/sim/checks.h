// What the simulator keeps of a block while it checks: see the functions for what each finds.
#pragma once

#include <cstddef>
#include <cstdint>

#include "block.h"

namespace signstep::sim {

struct Checks {
  void prepare_for(const Block&) {}
  void begin_block(Block&) {}
  void before_choice(Block&) {}
  bool deliver_one(Block&) { return false; }
  void at_return(Thread&) {}
  void barrier_waits(Thread&, int) {}
  void barrier_arrived(Thread&, int) {}
  void barrier_completed(Block&, int) {}
};

}  // namespace signstep::sim
