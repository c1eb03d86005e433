#include "checks.h"

#include "shared.h"

namespace signstep::sim {

void check_shared(const void* at, std::size_t bytes, std::size_t alignment, Access) {
  const Block& block = *current->block;
  const auto address = reinterpret_cast<std::uintptr_t>(at);
  const auto base = reinterpret_cast<std::uintptr_t>(block.shared);
  if (address < base || address + bytes > base + block.shared_bytes) {
    fail("shared memory: " + std::to_string(bytes) + " bytes at offset " + std::to_string(static_cast<std::int64_t>(address - base)) +
         " of " + std::to_string(block.shared_bytes));
  }
  if (address % alignment != 0) fail("shared memory: offset " + std::to_string(address - base) + " is not aligned to " + std::to_string(alignment));
}

}  // namespace signstep::sim
