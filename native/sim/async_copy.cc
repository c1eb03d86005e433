#include "async_copy.h"

#include <cstring>
#include <utility>

#include "checks.h"

namespace signstep::sim {
namespace {

void perform(void* to, const void* from, std::size_t bytes, bool valid) {
  if (valid) {
    std::memcpy(to, from, bytes);
  } else {
    std::memset(to, 0, bytes);
  }
}

// Delivers the oldest groups until `left` remain.
void deliver(Thread& thread, std::size_t left) {
  Checks& checks = *thread.block->checks;
  auto& groups = checks.thread[thread.number].copies.committed;
  if (groups.size() <= left) return;
  const std::size_t due = groups.size() - left;
  for (std::size_t g = 0; g < due; ++g) {
    for (const CopyToShared& copy : groups[g]) {
      perform(thread.block->shared + copy.to, copy.from, copy.bytes, copy.valid);
      checks.races.end_copy(copy.to, copy.bytes, static_cast<std::uint16_t>(thread.number), checks.clocks.epoch(thread.warp));
    }
  }
  groups.erase(groups.begin(), groups.begin() + static_cast<std::ptrdiff_t>(due));
}

}  // namespace

void copy_async(void* to, const void* from, std::size_t bytes, bool valid) {
  if (!checking) [[likely]] {
    perform(to, from, bytes, valid);
    return;
  }
  const Thread& self = *current;
  Checks& checks = *self.block->checks;
  const std::size_t offset = shared_offset(to, bytes, bytes);
  if (reinterpret_cast<std::uintptr_t>(from) % bytes != 0) fail("cp.async: the global address is not aligned to " + std::to_string(bytes));
  checks.banks.access(self.warp, self.lane, offset, bytes, true);
  checks.races.begin_copy(offset, bytes, self.number, false);
  checks.thread[self.number].copies.open.push_back({offset, from, bytes, valid});
}

void commit_copies() {
  auto& copies = current->block->checks->thread[current->number].copies;
  copies.committed.push_back(std::exchange(copies.open, {}));
}

void wait_copies(std::size_t groups_in_flight) {
  if (!current->block->checks->thread[current->number].copies.open.empty()) {
    fail("cp_async_wait with copies in no group: cp_async_commit is missing");
  }
  deliver(*current, groups_in_flight);
}

void finish_copies(Thread& thread) { deliver(thread, 0); }

}  // namespace signstep::sim
