// The activations that follow a product and their derivatives, on float32 values that will be rounded to T.
//
// An epilogue with erff() and expf() as they are takes about 40 instructions an element: on sm_90 as long as the product itself at K = 768.
// For 16-bit results the forms below take about half: their errors, below 5e-7, vanish beside the 2^-9 and 2^-12 of the rounding. Products of
// float32 accuracy use the exact functions.
#pragma once

#include "../ptx/device.h"
#include "kernels.h"

namespace signstep::kernels {
namespace {

using namespace signstep::device;

template <class T>
constexpr bool kExact = sizeof(T) == 4;

// 1 / x for x >= 1, infinity included: the square of the hardware's reciprocal square root, where a division takes ten instructions.
__device__ __forceinline__ float fast_reciprocal(float x) {
  const float root = rsqrtf(x);
  return root * root;
}

// 1 / (1 + exp(-x)): keeps its relative accuracy in both tails. tanh(u) is 2 sigmoid(2u) - 1, so that GELU (tanh) is x sigmoid(2u).
template <class T>
__device__ __forceinline__ float sigmoid(float x) {
  return kExact<T> ? 1.0f / (1.0f + expf(-x)) : fast_reciprocal(1.0f + __expf(-x));
}

// The standard normal distribution function, and exp(-x^2 / 2), its density times sqrt(2 pi). The fast form is that of Abramowitz and
// Stegun, 7.1.26: erfc(z) = (a1 t + … + a5 t^5) exp(-z^2), t = 1 / (1 + 0.3275911 z), within 1.5e-7, here with z = |x| / sqrt(2) and halved.
struct Normal {
  float cdf, bell;
};
template <class T>
__device__ __forceinline__ Normal normal(float x) {
  if constexpr (kExact<T>) {
    return {0.5f * (1.0f + erff(x * 0.70710678118654752f)), expf(-0.5f * x * x)};
  } else {
    const float bell = exp2f(x * x * -0.72134752044448170f);
    const float t = fast_reciprocal(fmaf(fabsf(x), 0.23164189f, 1.0f));
    float tail = fmaf(t, 0.5307027145f, -0.7265760135f);
    tail = fmaf(t, tail, 0.7107068705f);
    tail = fmaf(t, tail, -0.142248368f);
    tail = fmaf(t, tail, 0.127414796f) * t * bell;
    return {x < 0.0f ? tail : 1.0f - tail, bell};
  }
}

// 2u with u = sqrt(2/pi) (x + 0.044715 x^3), and its derivative.
__device__ __forceinline__ float gelu_tanh_argument(float x) { return 1.5957691216057308f * x * (1.0f + 0.044715f * x * x); }
__device__ __forceinline__ float gelu_tanh_slope(float x) { return 1.5957691216057308f * (1.0f + 0.134145f * x * x); }

// x s(z), z = z(x), has the derivative s + x s (1 - s) z'.
__device__ __forceinline__ float gated_slope(float x, float s, float slope) { return s + (x * s) * (1.0f - s) * slope; }

template <class T>
__device__ __forceinline__ float activate(Epilogue kind, float x) {
  switch (kind) {
    case Epilogue::gelu_erf: return x * normal<T>(x).cdf;
    case Epilogue::gelu_tanh: return x * sigmoid<T>(gelu_tanh_argument(x));
    case Epilogue::quick_gelu: return x * sigmoid<T>(1.702f * x);
    case Epilogue::silu: return x * sigmoid<T>(x);
    default: return x < 0.0f ? 0.0f : x;  // NaN stays NaN
  }
}

template <class T>
__device__ __forceinline__ float activation_slope(Epilogue kind, float x) {
  switch (kind) {
    case Epilogue::gelu_erf_backward: {
      const Normal at = normal<T>(x);
      return fmaf(x * 0.39894228040143268f, at.bell, at.cdf);
    }
    case Epilogue::gelu_tanh_backward: return gated_slope(x, sigmoid<T>(gelu_tanh_argument(x)), gelu_tanh_slope(x));
    case Epilogue::quick_gelu_backward: return gated_slope(x, sigmoid<T>(1.702f * x), 1.702f);
    case Epilogue::silu_backward: return gated_slope(x, sigmoid<T>(x), 1.0f);
    default: return x > 0.0f ? 1.0f : 0.0f;
  }
}

}  // namespace
}  // namespace signstep::kernels
