// A block of CUDA threads on one OS thread: its fibres, the order in which they run, its barriers, and how it fails.
//
// A thread runs until it must wait; then the next one that can run goes on, directly from fibre to fibre. With schedule 0 that is the next
// lane of the warp, then the next warp. With another seed a warp chosen at random runs as far ahead of the others as the barriers let it,
// its lanes in random order: this is what makes a missing barrier show.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <source_location>
#include <string>
#include <vector>

#include "fiber.h"
#include "vector_types.h"

namespace signstep::sim {

using Place = std::source_location;  // where in the kernel a waiting thread stands

struct Block;
struct Checks;    // what is only kept while checking: checks.h
struct MbarrierState;  // mbarrier.h
struct Products;  // wgmma.h

// What a thread waits for, in words for the report of a deadlock.
struct Wait {
  const char* what = nullptr;
  int id = -1;  // of a barrier
  Place place;
};

struct Thread {
  Context context;
  Block* block = nullptr;
  uint3 index = {};
  std::uint32_t number = 0, warp = 0, lane = 0;
  Wait wait;
};

// Lanes of a warp that execute one instruction together: each leaves a pointer to its operands; the last performs it for all.
using Perform = void (*)(void* const* operands, std::uint32_t lanes);
struct Rendezvous {
  std::uint32_t mask = 0;     // who takes part; 0: free
  std::uint32_t arrived = 0;
  Perform perform = nullptr;
  std::uint32_t line = 0;     // of the first to arrive
};

struct Warp {
  std::uint32_t runnable = 0;  // lanes
  std::uint32_t live = 0;      // lanes that have not returned
  std::array<void*, 32> operands = {};
  Rendezvous all;                    // of the whole warp
  std::array<Rendezvous, 4> groups;  // disjoint groups of lanes may meet at the same time
};

struct Barrier {
  std::uint32_t arrived = 0;
  std::uint32_t expected = 0;  // 0: nobody has come yet
  std::uint32_t line = 0;
  std::array<std::uint32_t, 32> waiting = {};  // lanes of each warp
};

// A call of a kernel with its arguments bound.
struct Call {
  const char* name;
  void (*invoke)(const void* arguments);
  const void* arguments;
  dim3 grid, block;
  std::size_t shared_bytes;
};

struct Block {
  // Set for a launch
  const Call* call = nullptr;
  std::uint32_t seed = 0;
  // Of the block that runs
  uint3 index = {};
  std::uint32_t threads = 0, live = 0, warps = 0;
  std::uint32_t current_warp = 0;
  std::uint64_t random = 0;
  std::unique_ptr<Thread[]> thread;
  std::array<Warp, 32> warp;
  std::array<Barrier, 16> barrier;
  std::byte* shared = nullptr;  // 1024-byte aligned
  std::size_t shared_bytes = 0;
  std::string failure;  // empty: none
  std::unique_ptr<Checks> checks;  // null: not checking
  std::vector<MbarrierState> mbarriers;
  std::unique_ptr<Products> products;
  Context main;

  Block();
  ~Block();
  // Makes room for a launch of this shape.
  void prepare_for(const Call& call, std::uint32_t seed, bool checking);
  // Runs one block to its end; false: failure says why.
  bool run(uint3 index);

  std::uint32_t draw();  // random bits of the schedule

 private:
  Stacks stacks_;
  std::size_t thread_capacity_ = 0;
  std::unique_ptr<std::byte[]> shared_storage_;
  std::size_t shared_capacity_ = 0;
};

#if defined(__GLIBC__)
#define SIGNSTEP_SIM_TLS __attribute__((tls_model("initial-exec")))  // one pointer; the general model costs a call at every threadIdx
#else
#define SIGNSTEP_SIM_TLS
#endif
extern constinit thread_local Thread* current SIGNSTEP_SIM_TLS;  // the thread that runs on this OS thread

// Whether the launch under way is checked (schedule other than 0, or asked for): only changed between launches.
extern constinit bool checking;

// A fault of the kernel, thrown in the fibre that made it; the launch ends with it.
struct Fault {
  std::string what;
};
[[noreturn]] void fail(std::string what);

// The running thread waits until wake() is called for its lane. id: of a barrier, or -1.
void wait_here(const char* what, int id, Place place);
inline void wake(Block& block, std::uint32_t warp, std::uint32_t lanes) { block.warp[warp].runnable |= lanes; }

// Waits until all lanes of `mask` have come with their operands; the last one performs the operation for all.
void meet(std::uint32_t mask, void* operands, Perform perform, const char* what, Place place);

// bar.sync and bar.arrive. threads 0: all that have not returned (__syncthreads).
void barrier_wait(int id, std::uint32_t threads, Place place);
void barrier_arrive(int id, std::uint32_t threads, Place place);

}  // namespace signstep::sim
