// cp.async: copies from global to shared memory that are there after the wait for their group.
#pragma once

#include <cstdint>

#include "shared_memory.h"

namespace signstep::device {

// Sixteen bytes, zeros where not valid (nothing is read then). Both addresses 16-byte aligned. Past L1, which would gain nothing.
template <class T>
__device__ __forceinline__ void cp_async16(Shared<T> to, const T* from, bool valid) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(valid ? 16 : 0) : "memory");
}

// Four bytes; both addresses 4-byte aligned.
template <class T>
__device__ __forceinline__ void cp_async4(Shared<T> to, const T* from, bool valid) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(to)), "l"(from), "r"(valid ? 4 : 0) : "memory");
}

__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Until at most N of this thread's groups are under way.
template <int N>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

}  // namespace signstep::device
