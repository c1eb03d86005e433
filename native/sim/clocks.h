// Who knows what of whom in a block: vector clocks. An access is ordered before another when the accessor's epoch then has been handed on,
// through barriers and mbarriers, to the warp that accesses now.
#pragma once

#include <array>
#include <cstdint>

namespace signstep::sim {

struct Thread;

// Accesses are made by warps and by the asynchronous engines: the products of a warpgroup, the copies that report to an mbarrier.
constexpr std::uint32_t warp_slots = 32, warpgroup_slots = 8, mbarrier_slots = 64;
constexpr std::uint32_t first_warpgroup_slot = warp_slots, first_mbarrier_slot = warp_slots + warpgroup_slots;
constexpr std::uint32_t slots = first_mbarrier_slot + mbarrier_slots;

struct Clock {
  std::array<std::uint32_t, slots> at;
  void join(const Clock& other) {
    for (std::uint32_t i = 0; i < slots; ++i) at[i] = at[i] < other.at[i] ? other.at[i] : at[i];
  }
};

// Who accessed, in 16 bits: a thread, some lanes of a warp, or an engine.
constexpr std::uint16_t lanes_of = 0x4000, engine = 0x8000, several = 0xFFFF;

class Clocks {
 public:
  // A new block: everything before is ordered before everything in it. False: the epochs have run out, forget all that holds any.
  bool begin();
  std::uint32_t base() const { return base_; }
  std::uint32_t epoch(std::uint32_t warp) const { return warp_[warp].at[warp]; }

  bool ordered(std::uint16_t who, std::uint32_t epoch, std::uint32_t thread) const;         // before what `thread` does now
  bool slot_ordered(std::uint32_t slot, std::uint32_t epoch, std::uint32_t warp) const;  // the same for some lanes of a warp, or an engine

  void warp_synchronized(std::uint32_t warp);
  void barrier_arrived(std::uint32_t warp, int id, bool waits);
  void barrier_completed(int id);  // all that wait go on
  void returned(std::uint32_t warp) { returned_.join(warp_[warp]); }

  void mbarrier_reset(std::uint32_t index);
  void mbarrier_arrived(std::uint32_t index, std::uint32_t warp);
  void mbarrier_phase_over(std::uint32_t index);
  void mbarrier_waited(std::uint32_t index, std::uint32_t warp) { warp_[warp].join(phase_over_[index]); }
  // A copy reporting to the mbarrier has written: the epoch of what it wrote.
  std::uint32_t mbarrier_delivered(std::uint32_t index);

  // A product of the warpgroup reads: the epoch of what it reads; known to a warp once it has waited for it.
  std::uint32_t product_issued(std::uint32_t warpgroup) { return ++engine_[warpgroup]; }
  void product_waited(std::uint32_t warpgroup, std::uint32_t epoch, std::uint32_t warp);

 private:
  std::uint32_t base_ = 0;
  std::array<Clock, warp_slots> warp_ = {};
  std::array<std::uint32_t, warp_slots> synchronized_ = {};  // the epoch up to which the lanes of a warp know of each other
  std::array<std::uint32_t, warpgroup_slots + mbarrier_slots> engine_ = {};
  std::array<Clock, 16> barrier_ = {};
  std::array<std::uint32_t, 16> waiting_ = {};  // warps
  Clock returned_ = {};
  std::array<Clock, mbarrier_slots> phase_ = {}, phase_over_ = {};
};

}  // namespace signstep::sim
