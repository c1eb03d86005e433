// Lengths of an L2 ball in float64: the same bits as native/core/steps/{unit_root.cc,shrink_factor.h}. A thread an image, so speed is no matter.
#pragma once

#include <cstdint>

#include "../ptx/device.h"

namespace signstep::kernels {

using namespace signstep::device;

// u^(1/n) for u in [2^-24, 1].
__device__ __forceinline__ double unit_root(double u, std::uint32_t n) {
  constexpr double ln2 = 0.693147180559945309417;
  // u = m * 2^exponent with m in [root of 1/2, root of 2]; ln m = 2 artanh((m-1)/(m+1)).
  const long long bits = __double_as_longlong(u);
  int exponent = static_cast<int>((bits >> 52) & 0x7FF) - 1022;
  double m = __longlong_as_double((bits & 0x000FFFFFFFFFFFFFll) | 0x3FE0000000000000ll);
  if (m < 0.70710678118654752440) {
    m = __dmul_rn(m, 2.0);
    exponent -= 1;
  }
  const double s = __ddiv_rn(__dsub_rn(m, 1.0), __dadd_rn(m, 1.0)), square = __dmul_rn(s, s);
  double series = 0;
#pragma unroll
  for (int k = 21; k >= 1; k -= 2) series = __dadd_rn(__dmul_rn(series, square), 1.0 / k);
  const double log = __dadd_rn(__dmul_rn(static_cast<double>(exponent), ln2), __dmul_rn(__dmul_rn(2.0, s), series));

  // Taylor's series of e^r, |r| <= ln 2 / 2, times a power of two.
  const double y = __ddiv_rn(log, static_cast<double>(n));
  const double power = ::floor(__dadd_rn(__ddiv_rn(y, ln2), 0.5));
  const double r = __dsub_rn(y, __dmul_rn(power, ln2));
  series = 1;
#pragma unroll 1
  for (int i = 15; i >= 1; --i) series = __dadd_rn(1.0, __ddiv_rn(__dmul_rn(series, r), static_cast<double>(i)));
  return __dmul_rn(series, __longlong_as_double(static_cast<long long>(static_cast<int>(power) + 1023) << 52));
}

// radius/length as a float32 that never leads outside the ball.
__device__ __forceinline__ float shrink_factor(double radius, double length) {
  length = length < 1e-12 ? 1e-12 : length;
  const float factor = static_cast<float>(__ddiv_rn(radius, length));
  // The next float towards zero: factor is positive here.
  return __dmul_rn(static_cast<double>(factor), length) > radius ? __uint_as_float(__float_as_uint(factor) - 1) : factor;
}

}  // namespace signstep::kernels
