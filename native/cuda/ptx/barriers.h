// Named barriers 1-15 (0 is __syncthreads): sync waits for `threads` threads, arrive counts without waiting.
#pragma once

namespace signstep::device {

__device__ __forceinline__ void barrier_sync(int id, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }
__device__ __forceinline__ void barrier_arrive(int id, int threads) { asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory"); }

}  // namespace signstep::device
