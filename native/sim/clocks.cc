#include "clocks.h"

#include <algorithm>
#include <bit>

namespace signstep::sim {

bool Clocks::begin() {
  std::uint32_t highest = base_;
  for (std::uint32_t w = 0; w < warp_slots; ++w) highest = std::max(highest, warp_[w].at[w]);
  for (const std::uint32_t epoch : engine_) highest = std::max(highest, epoch);
  const bool run_out = highest > 0xF0000000u;
  base_ = run_out ? 0 : highest;
  Clock start;
  start.at.fill(base_);
  warp_.fill(start);
  for (std::uint32_t w = 0; w < warp_slots; ++w) warp_[w].at[w] = base_ + 1;
  synchronized_.fill(base_);
  engine_.fill(base_);
  barrier_.fill(start);
  waiting_.fill(0);
  returned_ = start;
  return !run_out;
}

bool Clocks::slot_ordered(std::uint32_t slot, std::uint32_t epoch, std::uint32_t warp) const {
  return epoch <= base_ || epoch <= (slot == warp ? synchronized_[warp] : warp_[warp].at[slot]);
}

bool Clocks::ordered(std::uint16_t who, std::uint32_t epoch, std::uint32_t thread) const {
  const std::uint32_t warp = thread / 32;
  if ((who & engine) != 0) return slot_ordered(who & 0x7FFFu, epoch, warp);
  if ((who & lanes_of) != 0) return slot_ordered(who & 31u, epoch, warp);
  return who == thread || slot_ordered(who / 32u, epoch, warp);
}

void Clocks::warp_synchronized(std::uint32_t warp) { synchronized_[warp] = warp_[warp].at[warp]++; }

void Clocks::barrier_arrived(std::uint32_t warp, int id, bool waits) {
  const auto i = static_cast<std::size_t>(id);
  if (waits) {
    waiting_[i] |= 1u << warp;
  } else {
    barrier_[i].join(warp_[warp]);
    ++warp_[warp].at[warp];
  }
}

void Clocks::barrier_completed(int id) {
  const auto i = static_cast<std::size_t>(id);
  for (std::uint32_t bits = waiting_[i]; bits != 0; bits &= bits - 1) barrier_[i].join(warp_[static_cast<std::size_t>(std::countr_zero(bits))]);
  if (id == 0) barrier_[i].join(returned_);
  for (std::uint32_t bits = waiting_[i]; bits != 0; bits &= bits - 1) {
    const auto w = static_cast<std::uint32_t>(std::countr_zero(bits));
    warp_[w].join(barrier_[i]);
    warp_synchronized(w);
  }
  waiting_[i] = 0;
  barrier_[i].at.fill(base_);
}

void Clocks::mbarrier_reset(std::uint32_t index) {
  phase_[index].at.fill(base_);
  phase_over_[index].at.fill(base_);
}

void Clocks::mbarrier_arrived(std::uint32_t index, std::uint32_t warp) {
  phase_[index].join(warp_[warp]);
  ++warp_[warp].at[warp];
}

void Clocks::mbarrier_phase_over(std::uint32_t index) {
  phase_over_[index].join(phase_[index]);
  phase_[index].at.fill(base_);
}

std::uint32_t Clocks::mbarrier_delivered(std::uint32_t index) {
  const std::uint32_t epoch = ++engine_[warpgroup_slots + index];
  phase_[index].at[first_mbarrier_slot + index] = epoch;
  return epoch;
}

void Clocks::product_waited(std::uint32_t warpgroup, std::uint32_t epoch, std::uint32_t warp) {
  std::uint32_t& known = warp_[warp].at[first_warpgroup_slot + warpgroup];
  known = std::max(known, epoch);
}

}  // namespace signstep::sim
