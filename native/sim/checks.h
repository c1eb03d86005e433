// What is kept of a block while it is checked: who knows of whom, what happened to each shared byte, the asynchronous copies under way.
// A launch that is not checked has none of it, and does asynchronous work at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "bank_conflicts.h"
#include "block.h"
#include "clocks.h"
#include "race_map.h"

namespace signstep::sim {

// Work of one thread that is done at a wait: groups of operations, the oldest first.
template <class Operation>
struct Groups {
  std::vector<Operation> open;  // issued and not committed
  std::vector<std::vector<Operation>> committed;
};

struct CopyToShared {  // cp.async
  std::size_t to;      // offset
  const void* from;
  std::size_t bytes;
  bool valid;
};

struct Box;  // of a TMA copy: tma.h

struct ThreadChecks {
  Groups<CopyToShared> copies;
  Groups<Box> stores;
};

struct Checks {
  Checks();
  ~Checks();
  Clocks clocks;
  RaceMap races{clocks};
  BankConflicts banks;
  std::vector<ThreadChecks> thread;
  std::vector<Box> loads;  // TMA loads not delivered

  void prepare_for(const Block& block);
  void begin_block(Block& block);
  void end_block(const Block& block);
  // Before a thread is chosen to go on: with an even seed now and then a copy is delivered; with an odd one only when nobody can go on.
  void before_choice(Block& block);
  bool deliver_one(Block& block);  // false: there is none
  void at_return(Thread& thread);
  void warp_met(std::uint32_t warp) { banks.flush(warp); }
  void barrier_arrived(const Thread& thread, int id, bool waits);
  void barrier_completed(Block& block, int id);

 private:
  bool failed_ = false;  // the last block: its marks are not to be trusted
};

// The offset of an address in the running block's shared memory; throws Fault where the bytes are not inside or not aligned.
std::size_t shared_offset(const void* at, std::size_t bytes, std::size_t alignment);

}  // namespace signstep::sim
