// The functions of the elementwise kernel, in float32. Where a definition leaves a choice it is numpy's: NaN goes through minimum, maximum
// and clip, powers of a negative base are real where the exponent is whole, rounding goes to even.
#pragma once

#include <cmath>

#include "element.cuh"

namespace signstep::kernels {

__device__ __forceinline__ float sigmoid_of(float x) { return 1.0f / (1.0f + expf(-x)); }

// Sine (quarter = 0) and cosine (quarter = 1). The library's sinf keeps a table in local memory for large arguments; here the argument is
// reduced in double precision, whose 106 bits of pi / 2 hold up to |x| = 2^48. Beyond that neighbouring floats are many turns apart: 0 and
// 1.
__device__ __forceinline__ float wave(float x, int quarter) {
  if (fabsf(x) > 2.8e14f && fabsf(x) <= 3.4028235e38f) x = 0;
  const double turns = std::rint(static_cast<double>(x) * 0.63661977236758134308);
  const double rest = std::fma(-turns, 6.1232339957367660359e-17, std::fma(-turns, 1.5707963267948965580, static_cast<double>(x)));
  const float r = static_cast<float>(rest), s = r * r;
  const int turn = static_cast<int>(static_cast<long long>(isnan(x) || isinf(x) ? 0.0 : turns) & 3) + quarter;
  const float sine = fmaf(r * s, fmaf(s, fmaf(s, -1.9515295891e-4f, 8.3321608736e-3f), -1.6666654611e-1f), r);
  const float cosine =
      fmaf(s * s, fmaf(s, fmaf(s, 2.443315711809948e-5f, -1.388731625493765e-3f), 4.166664568298827e-2f), fmaf(s, -0.5f, 1.0f));
  const float value = (turn & 1) != 0 ? cosine : sine;
  return (turn & 2) != 0 ? -value : value;
}

// Derivatives of the activations, as products with the gradient that reaches them.
__device__ __forceinline__ float gelu_erf_slope(float x) {
  const float below = 0.5f * (1.0f + erff(x * 0.70710678118654752f));
  return fmaf(x * 0.39894228040143268f, expf(-0.5f * x * x), below);
}
__device__ __forceinline__ float gelu_tanh_inner(float x) { return 0.79788456080286536f * fmaf(0.044715f * x * x, x, x); }
__device__ __forceinline__ float gelu_tanh_slope(float x) {
  if (fabsf(x) > 20.0f) return x > 0 ? 1.0f : 0.0f;  // before 0 * infinity
  const float t = tanhf(gelu_tanh_inner(x));
  return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * 0.79788456080286536f * fmaf(0.134145f * x, x, 1.0f);
}
__device__ __forceinline__ float scaled_sigmoid_slope(float x, float scale) {  // of x * sigmoid(scale * x)
  const float s = sigmoid_of(scale * x);
  return s * fmaf(scale * x, 1.0f - s, 1.0f);
}

// NaN stays NaN: a comparison with it is false.
__device__ __forceinline__ float least(float a, float b) { return isnan(a) || a < b ? a : b; }
__device__ __forceinline__ float greatest(float a, float b) { return isnan(a) || a > b ? a : b; }

template <int N, class Each>
__device__ __forceinline__ void each(float (&a)[N], Each of) {
#pragma unroll
  for (int i = 0; i < N; i++) a[i] = of(a[i]);
}
template <int N, class Each>
__device__ __forceinline__ void each(float (&a)[N], const float (&b)[N], Each of) {
#pragma unroll
  for (int i = 0; i < N; i++) a[i] = of(a[i], b[i]);
}

// a = function(a, b, c); the branch is outside the loop over the elements and the same for all threads.
template <int N>
__device__ __forceinline__ void apply(Function function, const float (&p)[4], float (&a)[N], const float (&b)[N], const float (&c)[N]) {
  const float p0 = p[0], p1 = p[1];
  switch (function) {
    case Function::identity: return;
    case Function::negate: return each(a, [](float x) { return -x; });
    case Function::absolute: return each(a, [](float x) { return fabsf(x); });
    case Function::exponential: return each(a, [](float x) { return expf(x); });
    case Function::logarithm: return each(a, [](float x) { return logf(x); });
    case Function::square_root: return each(a, [](float x) { return sqrtf(x); });
    case Function::reciprocal: return each(a, [](float x) { return 1.0f / x; });
    case Function::sigmoid: return each(a, [](float x) { return sigmoid_of(x); });
    case Function::hyperbolic_tangent: return each(a, [](float x) { return tanhf(x); });
    case Function::error_function: return each(a, [](float x) { return erff(x); });
    case Function::gelu_erf: return each(a, [](float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f)); });
    case Function::gelu_tanh: return each(a, [](float x) { return 0.5f * x * (1.0f + tanhf(gelu_tanh_inner(x))); });
    case Function::quick_gelu: return each(a, [](float x) { return x * sigmoid_of(1.702f * x); });
    case Function::silu: return each(a, [](float x) { return x * sigmoid_of(x); });
    case Function::relu: return each(a, [](float x) { return x < 0 ? 0.0f : x; });
    case Function::sign: return each(a, [](float x) { return x > 0 ? 1.0f : x < 0 ? -1.0f : x; });
    case Function::softplus: return each(a, [](float x) { return greatest(x, 0.0f) + log1pf(expf(-fabsf(x))); });
    case Function::sine: return each(a, [](float x) { return wave(x, 0); });
    case Function::cosine: return each(a, [](float x) { return wave(x, 1); });
    case Function::floor: return each(a, [](float x) { return floorf(x); });
    case Function::ceiling: return each(a, [](float x) { return ceilf(x); });
    case Function::round_even: return each(a, [](float x) { return rintf(x); });
    case Function::scale_shift: return each(a, [=](float x) { return fmaf(p0, x, p1); });
    case Function::clip: return each(a, [=](float x) { return least(greatest(x, p0), p1); });
    case Function::leaky_relu: return each(a, [=](float x) { return x < 0 ? p0 * x : x; });
    case Function::elu: return each(a, [=](float x) { return x < 0 ? p0 * expm1f(x) : x; });
    case Function::hard_sigmoid: return each(a, [=](float x) { return least(greatest(fmaf(p0, x, p1), 0.0f), 1.0f); });
    case Function::reciprocal_square_root: return each(a, [](float x) { return 1.0f / sqrtf(x); });

    case Function::add: return each(a, b, [](float x, float y) { return x + y; });
    case Function::subtract: return each(a, b, [](float x, float y) { return x - y; });
    case Function::multiply: return each(a, b, [](float x, float y) { return x * y; });
    case Function::divide: return each(a, b, [](float x, float y) { return x / y; });
    case Function::power: return each(a, b, [](float x, float y) { return powf(x, y); });
    case Function::minimum: return each(a, b, [](float x, float y) { return least(x, y); });
    case Function::maximum: return each(a, b, [](float x, float y) { return greatest(x, y); });
    case Function::greater: return each(a, b, [](float x, float y) { return x > y ? 1.0f : 0.0f; });
    case Function::greater_or_equal: return each(a, b, [](float x, float y) { return x >= y ? 1.0f : 0.0f; });
    case Function::less: return each(a, b, [](float x, float y) { return x < y ? 1.0f : 0.0f; });
    case Function::less_or_equal: return each(a, b, [](float x, float y) { return x <= y ? 1.0f : 0.0f; });
    case Function::equal: return each(a, b, [](float x, float y) { return x == y ? 1.0f : 0.0f; });
    case Function::gelu_erf_backward: return each(a, b, [](float x, float y) { return y * gelu_erf_slope(x); });
    case Function::gelu_tanh_backward: return each(a, b, [](float x, float y) { return y * gelu_tanh_slope(x); });
    case Function::quick_gelu_backward: return each(a, b, [](float x, float y) { return y * scaled_sigmoid_slope(x, 1.702f); });
    case Function::silu_backward: return each(a, b, [](float x, float y) { return y * scaled_sigmoid_slope(x, 1.0f); });
    case Function::relu_backward: return each(a, b, [](float x, float y) { return x > 0 ? y : 0.0f; });

    case Function::select:
#pragma unroll
      for (int i = 0; i < N; i++) a[i] = a[i] != 0 ? b[i] : c[i];
      return;
    case Function::multiply_add:
#pragma unroll
      for (int i = 0; i < N; i++) a[i] = fmaf(a[i], b[i], c[i]);
      return;
  }
}

}  // namespace signstep::kernels
