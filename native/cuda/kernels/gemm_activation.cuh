// The activations that follow a product and their derivatives, on float32 values. Sigmoids are taken as 1 / (1 + exp(-x)), which keeps
// its relative accuracy in both tails; tanh(u) is written as 2 sigmoid(2u) - 1, so that GELU (tanh) is x sigmoid(2u).
#pragma once

#include "../ptx/device.h"
#include "kernels.h"

namespace signstep::kernels {
namespace {

using namespace signstep::device;

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// The standard normal distribution function and its density.
__device__ __forceinline__ float normal_cdf(float x) { return 0.5f * (1.0f + erff(x * 0.70710678118654752f)); }
__device__ __forceinline__ float normal_density(float x) { return 0.39894228040143268f * expf(-0.5f * x * x); }

// 2u with u = sqrt(2/pi) (x + 0.044715 x^3), and its derivative.
__device__ __forceinline__ float gelu_tanh_argument(float x) { return 1.5957691216057308f * x * (1.0f + 0.044715f * x * x); }
__device__ __forceinline__ float gelu_tanh_slope(float x) { return 1.5957691216057308f * (1.0f + 0.134145f * x * x); }

// x s(z), z = z(x), has the derivative s + x s (1 - s) z'. Where s underflows to 0 or reaches 1 the second term vanishes; x s first, so
// that infinity times 0 cannot come from a large z'.
__device__ __forceinline__ float gated_slope(float x, float s, float slope) { return s + (x * s) * (1.0f - s) * slope; }

__device__ __forceinline__ float activate(Epilogue kind, float x) {
  switch (kind) {
    case Epilogue::gelu_erf: return x * normal_cdf(x);
    case Epilogue::gelu_tanh: return x * sigmoid(gelu_tanh_argument(x));
    case Epilogue::quick_gelu: return x * sigmoid(1.702f * x);
    case Epilogue::silu: return x * sigmoid(x);
    default: return x < 0.0f ? 0.0f : x;  // NaN stays NaN
  }
}

__device__ __forceinline__ float activation_slope(Epilogue kind, float x) {
  switch (kind) {
    case Epilogue::gelu_erf_backward: return normal_cdf(x) + x * normal_density(x);
    case Epilogue::gelu_tanh_backward: return gated_slope(x, sigmoid(gelu_tanh_argument(x)), gelu_tanh_slope(x));
    case Epilogue::quick_gelu_backward: return gated_slope(x, sigmoid(1.702f * x), 1.702f);
    case Epilogue::silu_backward: return gated_slope(x, sigmoid(x), 1.0f);
    default: return x > 0.0f ? 1.0f : 0.0f;
  }
}

}  // namespace
}  // namespace signstep::kernels
