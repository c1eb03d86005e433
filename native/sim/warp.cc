#include "warp.h"

#include "checks.h"
#include "tma.h"

namespace signstep::sim {

void perform_vote(void* const* operands, std::uint32_t lanes) {
  std::uint32_t ballot = 0;
  for (std::uint32_t bits = lanes; bits != 0; bits &= bits - 1) {
    const int lane = std::countr_zero(bits);
    if (static_cast<const VoteOperand*>(operands[lane])->predicate) ballot |= 1u << lane;
  }
  for (std::uint32_t bits = lanes; bits != 0; bits &= bits - 1) static_cast<VoteOperand*>(operands[std::countr_zero(bits)])->ballot = ballot;
}

namespace {
void perform_synchronize(void* const*, std::uint32_t) {
  if (checking) current->block->checks->clocks.warp_synchronized(current->warp);
}
}  // namespace

void synchronize_warp(std::uint32_t mask, Place place) { meet(mask, nullptr, perform_synchronize, "__syncwarp", place); }

}  // namespace signstep::sim
