// Gaussian numbers from Philox words by Box and Muller, operation for operation as in native/core/kernels/gaussian.h.
#pragma once

#include <cstdint>

#include "pixel.cuh"

namespace signstep::kernels {

// ln u for u in (0,1], normal.
__device__ __forceinline__ float log_unit(float u) {
  constexpr std::int32_t root_half = 0x3F3504F3;  // bits of the root of one half
  const std::int32_t bits = static_cast<std::int32_t>(__float_as_uint(u));
  const std::int32_t e = (bits - root_half) >> 23;
  const float exponent = static_cast<float>(e);
  const float f = __fsub_rn(__uint_as_float(static_cast<std::uint32_t>(bits) - (static_cast<std::uint32_t>(e) << 23)), 1.0f);
  constexpr float coefficients[] = {-1.1514610310e-1f, 1.1676998740e-1f,  -1.2420140846e-1f, 1.4249322787e-1f,
                                    -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f};
  float p = 7.0376836292e-2f;
#pragma unroll
  for (int i = 0; i < 8; i++) p = __fadd_rn(__fmul_rn(p, f), coefficients[i]);
  const float square = __fmul_rn(f, f);
  float low = __fmul_rn(__fmul_rn(p, f), square);
  low = __fadd_rn(low, __fmul_rn(exponent, -2.12194440e-4f));
  low = __fsub_rn(low, __fmul_rn(0.5f, square));
  return __fadd_rn(__fadd_rn(f, low), __fmul_rn(exponent, 0.693359375f));
}

// sin(2 pi q) for q in [-1/4, 1/4].
__device__ __forceinline__ float sin_turn(float q) {
  constexpr float coefficients[] = {-15.09464257682f, 42.05869394489f, -76.70585975306f,
                                    81.60524927608f,  -41.34170224040f, 6.28318530718f};
  const float t = __fmul_rn(q, q);
  float p = 3.81995258485f;
#pragma unroll
  for (int i = 0; i < 6; i++) p = __fadd_rn(__fmul_rn(p, t), coefficients[i]);
  return __fmul_rn(p, q);
}

// Words 2k and 2k+1 of a block give elements 2k (cosine) and 2k+1 (sine, `odd`).
__device__ __forceinline__ float gaussian_number(std::uint32_t even_word, std::uint32_t odd_word, bool odd) {
  const float u = __fmul_rn(static_cast<float>(static_cast<std::int32_t>((even_word >> 8) + 1)), 0x1p-24f);
  const float radius = __fsqrt_rn(__fmul_rn(-2.0f, log_unit(u)));
  const float turn = __fmul_rn(static_cast<float>(static_cast<std::int32_t>(odd_word >> 8)), 0x1p-24f);
  const float v = fabsf(__fsub_rn(turn, odd ? 0.25f : 0.0f));
  const float rest = __fsub_rn(1.0f, v);
  const float q = __fsub_rn(0.25f, v < rest ? v : rest);
  return __fmul_rn(radius, sin_turn(q));
}

}  // namespace signstep::kernels
