// What happens to one pixel, with the roundings of the CPU kernels (native/core/kernels/blocks.h): IEEE single, never contracted. min(a,b) is
// a < b ? a : b and max likewise, with the bound as a, so that a NaN pixel stays NaN.
#pragma once

#include "../ptx/device.h"

namespace signstep::kernels {

using namespace signstep::device;

__device__ __forceinline__ float lower_of(float bound, float x) { return bound < x ? bound : x; }
__device__ __forceinline__ float higher_of(float bound, float x) { return bound > x ? bound : x; }

__device__ __forceinline__ float clamp_pixel(float x) { return lower_of(1.0f, higher_of(0.0f, x)); }

// move * sign(g): 0 where g is 0 or NaN.
__device__ __forceinline__ float move_along_sign(float g, float move) { return 0.0f < g ? move : g < 0.0f ? -move : 0.0f; }

// The nearest point to x of the L-infinity ball around x0 that is an image; eps = infinity: any image.
__device__ __forceinline__ float project_linf(float x, float x0, float eps) {
  return clamp_pixel(lower_of(__fadd_rn(x0, eps), higher_of(__fsub_rn(x0, eps), x)));
}

// eps as project_linf takes it: a negative one projects nothing.
__device__ __forceinline__ float projection_radius(float eps) { return eps < 0.0f ? __uint_as_float(0x7F800000u) : eps; }

// NaN or infinite: no use where magnitudes matter.
__device__ __forceinline__ bool is_not_finite(float g) {
  const float difference = __fsub_rn(g, g);
  return difference != difference;
}

}  // namespace signstep::kernels
