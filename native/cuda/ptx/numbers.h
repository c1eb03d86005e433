// Conversions of bf16, f16, e4m3 and tf32, rounding to nearest even (tf32: halves away from zero).
#pragma once

#include <cstdint>

#include "number_types.h"

namespace signstep::device {

template <class T>
__device__ __forceinline__ float to_float(T value);
template <>
__device__ __forceinline__ float to_float<float>(float value) {
  return value;
}
template <>
__device__ __forceinline__ float to_float<bf16>(bf16 value) {
  return __uint_as_float(static_cast<std::uint32_t>(value.bits) << 16);
}
template <>
__device__ __forceinline__ float to_float<f16>(f16 value) {
  float out;
  asm("cvt.f32.f16 %0, %1;" : "=f"(out) : "h"(value.bits));
  return out;
}

template <class T>
__device__ __forceinline__ T from_float(float value);
template <>
__device__ __forceinline__ float from_float<float>(float value) {
  return value;
}
template <>
__device__ __forceinline__ bf16 from_float<bf16>(float value) {
  bf16 out;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(out.bits) : "f"(value));
  return out;
}
template <>
__device__ __forceinline__ f16 from_float<f16>(float value) {
  f16 out;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(out.bits) : "f"(value));
  return out;
}

// Two numbers in a register, the first in the low half.
template <class T>
__device__ __forceinline__ std::uint32_t pack2(float low, float high);
template <>
__device__ __forceinline__ std::uint32_t pack2<bf16>(float low, float high) {
  std::uint32_t out;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
  return out;
}
template <>
__device__ __forceinline__ std::uint32_t pack2<f16>(float low, float high) {
  std::uint32_t out;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
  return out;
}

template <class T>
__device__ __forceinline__ float2 unpack2(std::uint32_t pair);
template <>
__device__ __forceinline__ float2 unpack2<bf16>(std::uint32_t pair) {
  return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xFFFF0000u));
}
template <>
__device__ __forceinline__ float2 unpack2<f16>(std::uint32_t pair) {
  return make_float2(to_float(f16{static_cast<std::uint16_t>(pair)}), to_float(f16{static_cast<std::uint16_t>(pair >> 16)}));
}

// Four numbers as e4m3, the first in the lowest byte. What is beyond +-448, infinities included, becomes that; NaN stays NaN.
__device__ __forceinline__ std::uint32_t pack4_e4m3([[maybe_unused]] float a, [[maybe_unused]] float b, [[maybe_unused]] float c,
                                                    [[maybe_unused]] float d) {
#if SIGNSTEP_HAS_E4M3
  std::uint16_t low, high;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(low) : "f"(b), "f"(a));
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(high) : "f"(d), "f"(c));
  return static_cast<std::uint32_t>(low) | static_cast<std::uint32_t>(high) << 16;
#else
  return 0;
#endif
}

// 2^x within 2 units in the last place, 0 where that would be denormal: one instruction, where exp2f takes four.
__device__ __forceinline__ float fast_exp2(float x) {
  float out;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(x));
  return out;
}

__device__ __forceinline__ std::uint32_t to_tf32(float value) {
  std::uint32_t out;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(out) : "f"(value));
  return out;
}

}  // namespace signstep::device
