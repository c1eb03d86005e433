// Elements in device memory: the C++ type behind a precision, and loads and stores of several elements at once as float32.
#pragma once

#include <cstdint>

#include "../ptx/device.h"
#include "kernels.h"

namespace signstep::kernels {

using namespace signstep::device;

template <class T>
struct Element {
  using type = T;
};

// Calls body with Element<T> of the type that the precision stands for.
template <class Body>
void with_element(Precision precision, Body&& body) {
  switch (precision) {
    case Precision::bf16: return body(Element<bf16>{});
    case Precision::fp16: return body(Element<f16>{});
    case Precision::float32: return body(Element<float>{});
  }
}

// Elements of type T in one access of 16 bytes.
template <class T>
inline constexpr int kWide = static_cast<int>(16 / sizeof(T));

inline std::size_t bytes_of(Precision precision, program::ElementType type) {
  return type == program::ElementType::value ? bytes_of(precision) : 4;
}

inline bool aligned16(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0; }

// Throws rt::Failure{invalid, "<kernel>: <what>"} unless it holds.
inline void require(bool holds, const char* kernel, const char* what) {
  if (!holds) throw rt::Failure{rt::Failure::Kind::invalid, std::string(kernel) + ": " + what};
}

// N elements from `from` on; N = 1, or a multiple of 4 (float) or 8 (16 bits) with `from` aligned to 16 bytes.
template <class T, int N>
__device__ __forceinline__ void load(const T* from, float (&to)[N]) {
  if constexpr (N == 1) {
    to[0] = to_float(*from);
  } else if constexpr (sizeof(T) == 4) {
    static_assert(N % 4 == 0);
#pragma unroll
    for (int i = 0; i < N; i += 4) {
      const float4 four = *reinterpret_cast<const float4*>(from + i);
      to[i] = four.x, to[i + 1] = four.y, to[i + 2] = four.z, to[i + 3] = four.w;
    }
  } else {
    static_assert(N % 8 == 0);
#pragma unroll
    for (int i = 0; i < N; i += 8) {
      const uint4 words = *reinterpret_cast<const uint4*>(from + i);
      const float2 a = unpack2<T>(words.x), b = unpack2<T>(words.y), c = unpack2<T>(words.z), d = unpack2<T>(words.w);
      to[i] = a.x, to[i + 1] = a.y, to[i + 2] = b.x, to[i + 3] = b.y;
      to[i + 4] = c.x, to[i + 5] = c.y, to[i + 6] = d.x, to[i + 7] = d.y;
    }
  }
}

template <class T, int N>
__device__ __forceinline__ void store(T* to, const float (&from)[N]) {
  if constexpr (N == 1) {
    *to = from_float<T>(from[0]);
  } else if constexpr (sizeof(T) == 4) {
    static_assert(N % 4 == 0);
#pragma unroll
    for (int i = 0; i < N; i += 4) *reinterpret_cast<float4*>(to + i) = make_float4(from[i], from[i + 1], from[i + 2], from[i + 3]);
  } else {
    static_assert(N % 8 == 0);
#pragma unroll
    for (int i = 0; i < N; i += 8) {
      *reinterpret_cast<uint4*>(to + i) = make_uint4(pack2<T>(from[i], from[i + 1]), pack2<T>(from[i + 2], from[i + 3]),
                                                     pack2<T>(from[i + 4], from[i + 5]), pack2<T>(from[i + 6], from[i + 7]));
    }
  }
}

// The same for an Operand, whose elements are T or float32 as told at run time: the branch is the same for all threads.
template <class T, int N>
__device__ __forceinline__ void load(const void* data, bool is_float, std::int64_t at, float (&to)[N]) {
  if (sizeof(T) == 4 || is_float) {
    load(static_cast<const float*>(data) + at, to);
  } else {
    load(static_cast<const T*>(data) + at, to);
  }
}

template <class T, int N>
__device__ __forceinline__ void store(void* data, bool is_float, std::int64_t at, const float (&from)[N]) {
  if (sizeof(T) == 4 || is_float) {
    store(static_cast<float*>(data) + at, from);
  } else {
    store(static_cast<T*>(data) + at, from);
  }
}

// From one element type to another; the same bits where they are the same type.
template <class To, class From>
__device__ __forceinline__ To converted(From value) {
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else {
    return from_float<To>(to_float(value));
  }
}

inline bool is_float(const Operand& operand) { return operand.type == program::ElementType::float32; }
inline bool is_number(const Operand& operand) { return operand.type != program::ElementType::int32; }

inline unsigned blocks_for(std::int64_t items, std::int64_t per_block) {
  return static_cast<unsigned>((items + per_block - 1) / per_block);
}

}  // namespace signstep::kernels
