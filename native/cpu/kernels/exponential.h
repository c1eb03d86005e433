// e^x of sixteen numbers: relative error below 1.2e-7 for x in [-87, 88], 0 for -infinity, NaN for NaN; results below 2^-126 lose bits.
#pragma once

#include "avx512.h"

namespace signstep::cpu {

inline __m512 exponential(__m512 x) {
  // Below -110 the result is 0 in float32; the order of the operands keeps NaN.
  x = _mm512_max_ps(_mm512_set1_ps(-110.0f), x);
  const __m512 in_bits = _mm512_mul_ps(x, _mm512_set1_ps(1.44269504088896341f));
  const __m512 n = _mm512_roundscale_ps(in_bits, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  // ln 2 in two parts, the first with so few bits that n times it is exact.
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
  // (e^r - 1 - r) / r^2 on |r| <= ln 2 / 2.
  __m512 p = _mm512_set1_ps(1.9875691500e-4f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1f));
  const __m512 one_and_r = _mm512_add_ps(r, _mm512_set1_ps(1.0f));
  p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), one_and_r);
  return _mm512_scalef_ps(p, n);
}

}  // namespace signstep::cpu
