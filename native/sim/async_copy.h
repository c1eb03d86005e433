// cp.async: copies from global to shared memory that are there after the wait for their group. Checked launches copy no earlier.
#pragma once

#include <cstddef>
#include <cstdint>

#include "shared.h"

namespace signstep::sim {

void copy_async(void* to, const void* from, std::size_t bytes, bool valid);
void commit_copies();
void wait_copies(std::size_t groups_in_flight);
void finish_copies(Thread& thread);  // at its return; while checking

}  // namespace signstep::sim

namespace signstep::device {

// Sixteen (four) bytes, zeros where not valid. Both addresses aligned to that size.
template <class T>
inline void cp_async16(Shared<T> to, const T* from, bool valid) {
  sim::copy_async(to.address(), from, 16, valid);
}
template <class T>
inline void cp_async4(Shared<T> to, const T* from, bool valid) {
  sim::copy_async(to.address(), from, 4, valid);
}
inline void cp_async_commit() {
  if (sim::checking) [[unlikely]] sim::commit_copies();
}
template <int N>
inline void cp_async_wait() {
  static_assert(N >= 0);
  if (sim::checking) [[unlikely]] sim::wait_copies(N);
}

}  // namespace signstep::device
