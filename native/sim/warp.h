// What the lanes of a warp do together: shuffles and votes, and the barriers of warp and block.
#pragma once

#include <bit>
#include <cstdint>

#include "shared.h"

namespace signstep::sim {

template <class T>
struct ShuffleOperand {
  T value;
  std::uint32_t source;  // lane
  T result;
};

template <class T>
void perform_shuffle(void* const* operands, std::uint32_t lanes) {
  for (std::uint32_t bits = lanes; bits != 0; bits &= bits - 1) {
    auto& own = *static_cast<ShuffleOperand<T>*>(operands[std::countr_zero(bits)]);
    if ((lanes >> own.source & 1) == 0) fail("__shfl_sync: reads a lane outside the mask");
    own.result = static_cast<ShuffleOperand<T>*>(operands[own.source])->value;
  }
}

template <class T>
T shuffle(std::uint32_t mask, T value, std::uint32_t source, const char* what, Place place) {
  static_assert(std::is_arithmetic_v<T>, "shuffles take numbers");
  ShuffleOperand<T> operand{value, source, value};
  meet(mask, &operand, perform_shuffle<T>, what, place);
  return operand.result;
}

struct VoteOperand {
  bool predicate;
  std::uint32_t ballot;
};
void perform_vote(void* const* operands, std::uint32_t lanes);
void synchronize_warp(std::uint32_t mask, Place place);

}  // namespace signstep::sim

namespace signstep::device {

inline void __syncwarp(unsigned mask = ~0u, sim::Place place = sim::Place::current()) { sim::synchronize_warp(mask, place); }
inline void __syncthreads(sim::Place place = sim::Place::current()) { sim::barrier_wait(0, 0, place); }
inline void barrier_sync(int id, int threads, sim::Place place = sim::Place::current()) {
  sim::barrier_wait(id, static_cast<std::uint32_t>(threads), place);
}
inline void barrier_arrive(int id, int threads, sim::Place place = sim::Place::current()) {
  sim::barrier_arrive(id, static_cast<std::uint32_t>(threads), place);
}

// `width` (a power of two) splits the warp into groups that shuffle among themselves; a source outside the group is the lane itself.
template <class V>
inline sim::value_of<V> __shfl_sync(unsigned mask, V&& value, int source, int width = 32, sim::Place place = sim::Place::current()) {
  const std::uint32_t lane = sim::current->lane, w = static_cast<std::uint32_t>(width);
  return sim::shuffle<sim::value_of<V>>(mask, static_cast<V&&>(value), (lane & ~(w - 1)) | (static_cast<std::uint32_t>(source) & (w - 1)),
                                        "__shfl_sync", place);
}
template <class V>
inline sim::value_of<V> __shfl_xor_sync(unsigned mask, V&& value, int with, int width = 32, sim::Place place = sim::Place::current()) {
  const std::uint32_t lane = sim::current->lane, w = static_cast<std::uint32_t>(width);
  const std::uint32_t from = lane ^ static_cast<std::uint32_t>(with);
  return sim::shuffle<sim::value_of<V>>(mask, static_cast<V&&>(value), from < ((lane | (w - 1)) + 1) ? from : lane, "__shfl_xor_sync", place);
}
template <class V>
inline sim::value_of<V> __shfl_down_sync(unsigned mask, V&& value, unsigned by, int width = 32, sim::Place place = sim::Place::current()) {
  const std::uint32_t lane = sim::current->lane, w = static_cast<std::uint32_t>(width);
  const std::uint32_t from = lane + by;
  return sim::shuffle<sim::value_of<V>>(mask, static_cast<V&&>(value), from <= (lane | (w - 1)) ? from : lane, "__shfl_down_sync", place);
}
template <class V>
inline sim::value_of<V> __shfl_up_sync(unsigned mask, V&& value, unsigned by, int width = 32, sim::Place place = sim::Place::current()) {
  const std::uint32_t lane = sim::current->lane, w = static_cast<std::uint32_t>(width);
  return sim::shuffle<sim::value_of<V>>(mask, static_cast<V&&>(value), (lane & (w - 1)) >= by ? lane - by : lane, "__shfl_up_sync", place);
}

inline unsigned __ballot_sync(unsigned mask, bool predicate, sim::Place place = sim::Place::current()) {
  sim::VoteOperand operand{predicate, 0};
  sim::meet(mask, &operand, sim::perform_vote, "vote", place);
  return operand.ballot;
}
inline bool __any_sync(unsigned mask, bool predicate, sim::Place place = sim::Place::current()) {
  return __ballot_sync(mask, predicate, place) != 0;
}
inline bool __all_sync(unsigned mask, bool predicate, sim::Place place = sim::Place::current()) {
  return __ballot_sync(mask, predicate, place) == mask;
}

}  // namespace signstep::device
