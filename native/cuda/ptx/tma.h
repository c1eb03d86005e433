// TMA: one thread moves a box of a matrix between global and shared memory, in the 128-byte swizzle that wgmma reads.
#pragma once

#include <cstdint>

#include "mbarrier.h"
#include "shared_memory.h"
#include "tensor_map.h"

namespace signstep::device {

// Called by one thread; `to` 1024-byte aligned. All box_rows * 128 bytes count for the mbarrier, also those beyond the matrix.
template <class T>
__device__ __forceinline__ void tma_load_2d([[maybe_unused]] Shared<T> to, [[maybe_unused]] const TensorMap& map, [[maybe_unused]] int column,
                                            [[maybe_unused]] int row, [[maybe_unused]] Shared<Mbar> done) {
#if SIGNSTEP_HAS_SM90
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(
                   shared_address(to)),
               "l"(&map), "r"(column), "r"(row), "r"(shared_address(done))
               : "memory");
#endif
}

// After fence_proxy_async() by every thread that wrote `from`, and a barrier.
template <class T>
__device__ __forceinline__ void tma_store_2d([[maybe_unused]] const TensorMap& map, [[maybe_unused]] int column, [[maybe_unused]] int row,
                                             [[maybe_unused]] Shared<T> from) {
#if SIGNSTEP_HAS_SM90
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%1, %2}], [%3];" ::"l"(&map), "r"(column), "r"(row),
               "r"(shared_address(from))
               : "memory");
#endif
}

__device__ __forceinline__ void tma_store_commit() {
#if SIGNSTEP_HAS_SM90
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
#endif
}

// Until at most N of this thread's groups still read shared memory, which may then be written again.
template <int N>
__device__ __forceinline__ void tma_store_wait() {
#if SIGNSTEP_HAS_SM90
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory");
#endif
}

// By every thread that wrote shared memory with ordinary stores, before the barrier after which TMA or wgmma read it.
__device__ __forceinline__ void fence_proxy_async() {
#if SIGNSTEP_HAS_SM90
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

// Reads the descriptor into the cache ahead of the first copy.
__device__ __forceinline__ void tma_prefetch([[maybe_unused]] const TensorMap& map) {
#if SIGNSTEP_HAS_SM90
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
#endif
}

}  // namespace signstep::device
