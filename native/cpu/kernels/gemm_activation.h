// The activations that follow a product and their derivatives, 16 float32 values at a time, for both precisions. Relative errors of sigmoid
// and exponential stay below 1.2e-7, absolute ones of the normal distribution function and of gelu' below 2.5e-7.
#pragma once

#include <immintrin.h>

#include "../../cuda/kernels/kernels.h"

namespace signstep::kernels {
namespace {

inline __m512 all(float value) { return _mm512_set1_ps(value); }
inline __m512 magnitude(__m512 x) { return _mm512_abs_ps(x); }

// exp(x) within 2 units in the last place, 0 and infinity beyond the range of float32: 2^n times a polynomial of degree 6 (that of
// Cephes' exp2f) in f, |f| <= 1/2. x log2(e) - n is exact but for the rounding of f, log2(e) being given in two parts.
inline __m512 exponential(__m512 x) {
  // The value is the second operand, so that NaN stays NaN.
  x = _mm512_max_ps(all(-110.0f), _mm512_min_ps(all(110.0f), x));
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, all(1.44269502f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 f = _mm512_fmadd_ps(x, all(1.92596299e-8f), _mm512_fmsub_ps(x, all(1.44269502f), n));
  __m512 p = _mm512_fmadd_ps(f, all(1.535336188e-4f), all(1.339887440e-3f));
  p = _mm512_fmadd_ps(f, p, all(9.618437358e-3f));
  p = _mm512_fmadd_ps(f, p, all(5.550332471e-2f));
  p = _mm512_fmadd_ps(f, p, all(2.402264791e-1f));
  p = _mm512_fmadd_ps(f, p, all(6.931472029e-1f));
  p = _mm512_fmadd_ps(f, p, all(1.0f));
  return _mm512_scalef_ps(p, n);
}

// 1 / (1 + exp(-x)): keeps its relative accuracy in both tails. tanh(u) is 2 sigmoid(2u) - 1, so that GELU (tanh) is x sigmoid(2u).
inline __m512 sigmoid(__m512 x) { return _mm512_div_ps(all(1.0f), _mm512_add_ps(all(1.0f), exponential(_mm512_sub_ps(all(0.0f), x)))); }

// The standard normal distribution function, and exp(-x^2 / 2), its density times sqrt(2 pi): Abramowitz and Stegun, 7.1.26,
// erfc(z) = (a1 t + … + a5 t^5) exp(-z^2), t = 1 / (1 + 0.3275911 z), within 1.5e-7, here with z = |x| / sqrt(2) and halved.
struct Normal {
  __m512 cdf, bell;
};
inline Normal normal(__m512 x) {
  const __m512 bell = exponential(_mm512_mul_ps(_mm512_mul_ps(x, x), all(-0.5f)));
  const __m512 t = _mm512_div_ps(all(1.0f), _mm512_fmadd_ps(magnitude(x), all(0.23164189f), all(1.0f)));
  __m512 tail = _mm512_fmadd_ps(t, all(0.5307027145f), all(-0.7265760135f));
  tail = _mm512_fmadd_ps(t, tail, all(0.7107068705f));
  tail = _mm512_fmadd_ps(t, tail, all(-0.142248368f));
  tail = _mm512_fmadd_ps(t, tail, all(0.127414796f));
  tail = _mm512_mul_ps(_mm512_mul_ps(t, tail), bell);
  const __mmask16 negative = _mm512_cmp_ps_mask(x, all(0.0f), _CMP_LT_OQ);
  return {_mm512_mask_sub_ps(tail, static_cast<__mmask16>(~negative), all(1.0f), tail), bell};
}

// 2u with u = sqrt(2/pi) (x + 0.044715 x^3), and its derivative.
inline __m512 gelu_tanh_argument(__m512 x) {
  const __m512 square = _mm512_mul_ps(x, x);
  return _mm512_mul_ps(_mm512_mul_ps(all(1.5957691216f), x), _mm512_fmadd_ps(all(0.044715f), square, all(1.0f)));
}
inline __m512 gelu_tanh_slope(__m512 x) {
  return _mm512_mul_ps(all(1.5957691216f), _mm512_fmadd_ps(all(0.134145f), _mm512_mul_ps(x, x), all(1.0f)));
}

// x s(z), z = z(x), has the derivative s + x s (1 - s) z'. Where 1 - s is 0, x z' may be infinite: it is multiplied last but one.
inline __m512 gated_slope(__m512 x, __m512 s, __m512 slope) {
  return _mm512_fmadd_ps(_mm512_mul_ps(_mm512_mul_ps(x, s), _mm512_sub_ps(all(1.0f), s)), slope, s);
}

template <Epilogue kKind>
inline __m512 activate(__m512 x) {
  if constexpr (kKind == Epilogue::gelu_erf) return _mm512_mul_ps(x, normal(x).cdf);
  if constexpr (kKind == Epilogue::gelu_tanh) return _mm512_mul_ps(x, sigmoid(gelu_tanh_argument(x)));
  if constexpr (kKind == Epilogue::quick_gelu) return _mm512_mul_ps(x, sigmoid(_mm512_mul_ps(all(1.702f), x)));
  if constexpr (kKind == Epilogue::silu) return _mm512_mul_ps(x, sigmoid(x));
  if constexpr (kKind == Epilogue::relu) return _mm512_max_ps(all(0.0f), x);  // the second operand where it is NaN
}

template <Epilogue kKind>
inline __m512 activation_slope(__m512 x) {
  if constexpr (kKind == Epilogue::gelu_erf_backward) {
    const Normal at = normal(x);
    return _mm512_fmadd_ps(_mm512_mul_ps(x, all(0.3989422804f)), at.bell, at.cdf);
  }
  if constexpr (kKind == Epilogue::gelu_tanh_backward) return gated_slope(x, sigmoid(gelu_tanh_argument(x)), gelu_tanh_slope(x));
  if constexpr (kKind == Epilogue::quick_gelu_backward) return gated_slope(x, sigmoid(_mm512_mul_ps(all(1.702f), x)), all(1.702f));
  if constexpr (kKind == Epilogue::silu_backward) return gated_slope(x, sigmoid(x), all(1.0f));
  if constexpr (kKind == Epilogue::relu_backward)
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, all(0.0f), _CMP_GT_OQ), all(1.0f));
}

}  // namespace
}  // namespace signstep::kernels
