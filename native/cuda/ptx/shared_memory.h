// Shared memory, always dynamic: a plain pointer on the GPU, a checking one in the simulator (native/sim/shared.h).
#pragma once

#include <cstdint>

namespace signstep::device {

template <class T>
using Shared = T*;

// The block's shared memory, 1024-byte aligned: the atom of the 128-byte swizzle.
__device__ __forceinline__ Shared<std::uint8_t> dynamic_shared() {
  extern __shared__ __align__(1024) std::uint8_t signstep_dynamic_shared[];
  return signstep_dynamic_shared;
}

template <class U, class T>
__device__ __forceinline__ Shared<U> shared_cast(T* p) {
  return reinterpret_cast<U*>(p);
}

// The 32-bit address that PTX takes.
template <class T>
__device__ __forceinline__ std::uint32_t shared_address(T* p) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

}  // namespace signstep::device
