#include "checks.h"

#include <bit>

#include "async_copy.h"
#include "shared.h"
#include "tma.h"
#include "wgmma.h"

namespace signstep::sim {

Checks::Checks() = default;
Checks::~Checks() = default;

void Checks::prepare_for(const Block& block) {
  races.prepare_for(block.shared_bytes);
  if (thread.size() < block.threads) thread.resize(block.threads);
}

void Checks::begin_block(Block& block) {
  const bool epochs_left = clocks.begin();
  races.begin_block(failed_ || !epochs_left);
  failed_ = false;
  banks.begin_block();
  loads.clear();
  for (std::uint32_t i = 0; i < block.threads; ++i) thread[i] = {};
}

void Checks::end_block(const Block& block) {
  failed_ = !block.failure.empty();
  if (failed_) return;
  for (std::uint32_t w = 0; w < block.warps; ++w) banks.flush(w);
  ++banks.statistics.blocks;
}

void Checks::before_choice(Block& block) {
  if (loads.empty() || block.seed % 2 != 0 || block.seed == 0) return;
  if (block.draw() % 8 == 0) deliver_one(block);
}

bool Checks::deliver_one(Block& block) {
  if (loads.empty()) return false;
  const std::size_t i = block.seed == 0 ? 0 : block.draw() % loads.size();
  const Box box = loads[i];
  loads.erase(loads.begin() + static_cast<std::ptrdiff_t>(i));
  deliver_load(block, box);
  return true;
}

void Checks::at_return(Thread& self) {
  ThreadChecks& own = thread[self.number];
  if (!own.copies.open.empty()) fail("returns with cp.async copies in no group: cp_async_commit is missing");
  finish_copies(self);
  if (!own.stores.open.empty()) fail("returns with TMA stores in no group: tma_store_commit is missing");
  if (!own.stores.committed.empty()) fail("returns before tma_store_wait: its TMA store still reads shared memory");
  check_products_finished(self);
  clocks.returned(self.warp);
  if (self.block->live == 1 && !loads.empty()) fail("the block ends while TMA loads are under way: nobody waits for their mbarrier");
}

void Checks::barrier_arrived(const Thread& self, int id, bool waits) { clocks.barrier_arrived(self.warp, id, waits); }

void Checks::barrier_completed(Block& block, int id) {
  for (std::uint32_t w = 0; w < block.warps; ++w) {
    if (block.barrier[static_cast<std::size_t>(id)].waiting[w] != 0 || current->warp == w) warp_met(w);
  }
  clocks.barrier_completed(id);
}

std::size_t shared_offset(const void* at, std::size_t bytes, std::size_t alignment) {
  const Block& block = *current->block;
  const auto address = reinterpret_cast<std::uintptr_t>(at);
  const auto base = reinterpret_cast<std::uintptr_t>(block.shared);
  if (address < base || address + bytes > base + block.shared_bytes) {
    fail("out of shared memory: " + std::to_string(bytes) + " bytes at offset " + std::to_string(static_cast<std::int64_t>(address - base)) +
         " of " + std::to_string(block.shared_bytes));
  }
  const std::size_t offset = address - base;
  if (offset % alignment != 0) {
    fail("misaligned: " + std::to_string(bytes) + " bytes at shared offset " + std::to_string(offset) + ", not a multiple of " +
         std::to_string(alignment));
  }
  return offset;
}

void check_shared(const void* at, std::size_t bytes, std::size_t alignment, Access access) {
  const Thread& self = *current;
  Checks& checks = *self.block->checks;
  const std::size_t offset = shared_offset(at, bytes, alignment);
  checks.banks.access(self.warp, self.lane, offset, bytes, access != Access::read);
  switch (access) {
    case Access::read: checks.races.read(offset, bytes, self.number); break;
    case Access::write: checks.races.write(offset, bytes, self.number); break;
    case Access::atomic: checks.races.atomic(offset, bytes, self.number); break;
  }
}

}  // namespace signstep::sim
