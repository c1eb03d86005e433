// Atomic operations on global and shared memory. Global memory is reached by several blocks at once: these are real atomics.
#pragma once

#include <atomic>
#include <type_traits>

#include "shared.h"

namespace signstep::sim {

template <class T, class F>
inline T update(T* at, F&& next) {
  std::atomic_ref<T> place(*at);
  T old = place.load(std::memory_order_relaxed);
  while (!place.compare_exchange_weak(old, next(old))) {
  }
  return old;
}

template <class T>
inline T* atomic_place(Shared<T> p) {
  if (checking) [[unlikely]] check_shared(p.address(), sizeof(T), sizeof(T), Access::atomic);
  return p.address();
}

}  // namespace signstep::sim

namespace signstep::device {

// The second argument converts to the type of the first, as with CUDA's overloads.
template <class T>
inline T atomicAdd(T* at, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*at).fetch_add(value);
}
template <class T>
inline T atomicMax(T* at, std::type_identity_t<T> value) {
  return sim::update(at, [value](T old) { return old < value ? value : old; });
}
template <class T>
inline T atomicMin(T* at, std::type_identity_t<T> value) {
  return sim::update(at, [value](T old) { return value < old ? value : old; });
}
template <class T>
inline T atomicOr(T* at, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*at).fetch_or(value);
}
template <class T>
inline T atomicExch(T* at, std::type_identity_t<T> value) {
  return std::atomic_ref<T>(*at).exchange(value);
}
template <class T>
inline T atomicCAS(T* at, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  std::atomic_ref<T>(*at).compare_exchange_strong(expected, value);
  return expected;
}

template <class T>
inline T atomicAdd(Shared<T> at, std::type_identity_t<T> value) { return atomicAdd(sim::atomic_place(at), value); }
template <class T>
inline T atomicMax(Shared<T> at, std::type_identity_t<T> value) { return atomicMax(sim::atomic_place(at), value); }
template <class T>
inline T atomicMin(Shared<T> at, std::type_identity_t<T> value) { return atomicMin(sim::atomic_place(at), value); }
template <class T>
inline T atomicOr(Shared<T> at, std::type_identity_t<T> value) { return atomicOr(sim::atomic_place(at), value); }
template <class T>
inline T atomicExch(Shared<T> at, std::type_identity_t<T> value) { return atomicExch(sim::atomic_place(at), value); }
template <class T>
inline T atomicCAS(Shared<T> at, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return atomicCAS(sim::atomic_place(at), expected, value);
}

inline void __threadfence() { std::atomic_thread_fence(std::memory_order_seq_cst); }
inline void __threadfence_block() { std::atomic_thread_fence(std::memory_order_seq_cst); }

template <class T>
inline T __ldg(const T* at) { return *at; }

}  // namespace signstep::device
