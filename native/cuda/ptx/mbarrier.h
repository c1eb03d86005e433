// mbarriers in shared memory: a phase ends when `count` threads have arrived and all bytes expected have come.
#pragma once

#include <cstdint>

#include "shared_memory.h"

namespace signstep::device {

struct alignas(8) Mbar {
  std::uint64_t state;
};

__device__ __forceinline__ void mbar_init([[maybe_unused]] Shared<Mbar> p, [[maybe_unused]] int count) {
#if SIGNSTEP_HAS_SM90
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(p)), "r"(count) : "memory");
#endif
}

// After all mbar_init and before the barrier that lets other threads use them: makes them known to TMA.
__device__ __forceinline__ void mbar_init_fence() {
#if SIGNSTEP_HAS_SM90
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}

// Arrives and announces bytes that TMA will bring in this phase.
__device__ __forceinline__ void mbar_expect([[maybe_unused]] Shared<Mbar> p, [[maybe_unused]] int bytes) {
#if SIGNSTEP_HAS_SM90
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(p)), "r"(bytes) : "memory");
#endif
}

__device__ __forceinline__ void mbar_arrive([[maybe_unused]] Shared<Mbar> p) {
#if SIGNSTEP_HAS_SM90
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(p)) : "memory");
#endif
}

// Returns once the phase of this parity is over: 0 for the first phase; 1 returns at once on a fresh barrier.
__device__ __forceinline__ void mbar_wait([[maybe_unused]] Shared<Mbar> p, [[maybe_unused]] std::uint32_t parity) {
#if SIGNSTEP_HAS_SM90
  std::uint32_t over;
  do {
    asm volatile(
        "{\n"
        ".reg .pred over;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 over, [%1], %2;\n"
        "selp.u32 %0, 1, 0, over;\n"
        "}\n"
        : "=r"(over)
        : "r"(shared_address(p)), "r"(parity)
        : "memory");
  } while (over == 0);
#endif
}

}  // namespace signstep::device
