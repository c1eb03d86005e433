#include "mbarrier.h"

#include <cstring>

#include "checks.h"

namespace signstep::sim {
namespace {

constexpr std::uint32_t mark = 0x5241424Du;  // "MBAR"

void end_phase_if_complete(Block& block, std::uint32_t index) {
  MbarrierState& state = block.mbarriers[index];
  if (state.missing != 0 || state.bytes_missing != 0) return;
  state.missing = state.count;
  ++state.phases;
  if (block.checks != nullptr) block.checks->clocks.mbarrier_phase_over(index);
  for (std::uint32_t w = 0; w < block.warps; ++w) {
    wake(block, w, state.waiting[w]);
    state.waiting[w] = 0;
  }
}

}  // namespace

std::uint32_t mbarrier_of(const void* at, const char* what) {
  shared_offset(at, 8, 8);
  device::Mbar name;
  std::memcpy(&name, at, sizeof name);
  if (name.mark != mark || name.index >= current->block->mbarriers.size()) {
    fail(std::string(what) + ": no initialised mbarrier at shared offset " + std::to_string(shared_offset(at, 8, 8)));
  }
  return name.index;
}

void mbarrier_init(void* at, int count) {
  Block& block = *current->block;
  const std::size_t offset = shared_offset(at, 8, 8);
  if (count < 1 || count >= 1 << 20) fail("mbar_init: a count of " + std::to_string(count) + " (1 to 1048575)");
  if (checking) check_shared(at, 8, 8, Access::write);
  device::Mbar name;
  std::memcpy(&name, at, sizeof name);
  if (name.mark != mark || name.index >= block.mbarriers.size()) {
    if (block.mbarriers.size() == mbarrier_slots) fail("mbar_init: more than " + std::to_string(mbarrier_slots) + " mbarriers in a block");
    name = {mark, static_cast<std::uint32_t>(block.mbarriers.size())};
    block.mbarriers.emplace_back();
    std::memcpy(block.shared + offset, &name, sizeof name);
  }
  MbarrierState& state = block.mbarriers[name.index];
  state = {};
  state.count = state.missing = static_cast<std::uint32_t>(count);
  if (block.checks != nullptr) block.checks->clocks.mbarrier_reset(name.index);
}

void mbarrier_init_fence() {
  for (MbarrierState& state : current->block->mbarriers) state.fenced = true;
}

void mbarrier_arrive(void* at, std::int64_t bytes_expected) {
  Block& block = *current->block;
  const std::uint32_t index = mbarrier_of(at, bytes_expected != 0 ? "mbar_expect" : "mbar_arrive");
  if (checking) {
    check_shared(at, 8, 8, Access::atomic);
    block.checks->clocks.mbarrier_arrived(index, current->warp);
  }
  MbarrierState& state = block.mbarriers[index];
  state.bytes_missing += bytes_expected;
  --state.missing;
  end_phase_if_complete(block, index);
}

void mbarrier_bytes(Block& block, std::uint32_t index, std::int64_t bytes) {
  block.mbarriers[index].bytes_missing -= bytes;
  end_phase_if_complete(block, index);
}

void mbarrier_wait(void* at, std::uint32_t parity, Place place) {
  Block& block = *current->block;
  const std::uint32_t index = mbarrier_of(at, "mbar_wait");
  if (parity > 1) fail("mbar_wait: parity " + std::to_string(parity));
  if (checking) check_shared(at, 8, 8, Access::atomic);
  while (block.mbarriers[index].phases % 2 == parity) {
    block.mbarriers[index].waiting[current->warp] |= 1u << current->lane;
    wait_here("mbar_wait", static_cast<int>(index), place);
  }
  if (checking) block.checks->clocks.mbarrier_waited(index, current->warp);
}

}  // namespace signstep::sim
