// mbarriers: eight bytes of shared memory name one; its state is kept beside the block.
#pragma once

#include <array>
#include <cstdint>

#include "shared.h"

namespace signstep::device {

struct alignas(8) Mbar {
  std::uint32_t mark, index;
};

}  // namespace signstep::device

namespace signstep::sim {

struct MbarrierState {
  std::uint32_t count = 0;         // arrivals a phase needs
  std::uint32_t missing = 0;       // of this phase
  std::int64_t bytes_missing = 0;  // announced and not come
  std::uint32_t phases = 0;        // that are over
  bool fenced = false;             // mbar_init_fence since mbar_init
  std::array<std::uint32_t, 32> waiting = {};  // lanes of each warp
};

void mbarrier_init(void* at, int count);
void mbarrier_init_fence();
void mbarrier_arrive(void* at, std::int64_t bytes_expected);
void mbarrier_wait(void* at, std::uint32_t parity, Place place);
// For TMA: the index of an initialised mbarrier; bytes have come.
std::uint32_t mbarrier_of(const void* at, const char* what);
void mbarrier_bytes(Block& block, std::uint32_t index, std::int64_t bytes);

}  // namespace signstep::sim

namespace signstep::device {

inline void mbar_init(Shared<Mbar> p, int count) { sim::mbarrier_init(p.address(), count); }
inline void mbar_init_fence() { sim::mbarrier_init_fence(); }
inline void mbar_expect(Shared<Mbar> p, int bytes) { sim::mbarrier_arrive(p.address(), bytes); }
inline void mbar_arrive(Shared<Mbar> p) { sim::mbarrier_arrive(p.address(), 0); }
inline void mbar_wait(Shared<Mbar> p, std::uint32_t parity, sim::Place place = sim::Place::current()) {
  sim::mbarrier_wait(p.address(), parity, place);
}

}  // namespace signstep::device
