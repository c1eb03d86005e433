// The end of the backward pass: a run of the image gradient moves the image and is gone. Same bits as step_linf of signstep.h
// (native/core/kernels/step_linf.h): min(a,b) is a < b ? a : b and max likewise, with the bound as a, so that a NaN pixel stays NaN.
#pragma once

#include "../ptx/device.h"
#include "gemm_args.cuh"
#include "gemm_run.cuh"

namespace signstep::kernels {
namespace {

using namespace signstep::device;

__device__ __forceinline__ float moved_pixel(float x, float x0, float gradient, float move, float eps) {
  const float by = gradient > 0.0f ? move : gradient < 0.0f ? -move : 0.0f;
  const float low = __fsub_rn(x0, eps), high = __fadd_rn(x0, eps);
  float y = __fadd_rn(x, by);
  y = low > y ? low : y;
  y = high < y ? high : y;
  y = 0.0f > y ? 0.0f : y;
  return 1.0f < y ? 1.0f : y;
}

// Adds what the lanes of a warp counted to their images: one leader speaks for all lanes of an image. `told` is the image a lane's
// nonzero flag was last set for: a warp's rows mostly belong to one image, which then costs one atomic operation a warp.
__device__ __forceinline__ void report_gradient(const PatchStep& step, int image, int nan, bool nonzero, int& told) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  unsigned pending = __ballot_sync(~0u, nan > 0 || (nonzero && image != told));
  while (pending != 0) {
    const int of = __shfl_sync(~0u, image, __ffs(static_cast<int>(pending)) - 1);
    const bool mine = image == of;
    int total = mine ? nan : 0;
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) total += __shfl_xor_sync(~0u, total, distance);
    const bool any = __any_sync(~0u, mine && nonzero);
    if (lane == 0) {
      if (total > 0) atomicAdd(step.nan_count + of, total);
      if (any) atomicOr(step.nonzero + of, 1);
    }
    if (mine && any) told = of;
    pending &= ~__ballot_sync(~0u, mine);
  }
}

// Called by whole warps; count <= 0 where a lane has no elements. Images on hold are counted but not moved.
template <class T>
__device__ __forceinline__ void step_run(const EpilogueArgs& e, bool whole, int row, int column, int count, const float (&gradient)[kRun],
                                         int& told) {
  const PatchStep& step = e.step;
  const bool active = count > 0;
  const int image = active ? row / e.rows_per_image : 0;
  const std::int64_t at = static_cast<std::int64_t>(row) * e.n + column;
  // All that comes from memory is asked for at once: the pass costs one latency, in the shadow of the counting.
  float x[kRun], x0[kRun];
  load_run(static_cast<const float*>(step.x) + at, count, whole, x);
  load_run(step.x0 + at, count, whole, x0);
  const float move = step.alpha[image], eps = step.eps[image];
  const bool held = step.hold != nullptr && step.hold[image] != 0;

  int nan = 0;
  bool nonzero = false;
#pragma unroll
  for (int i = 0; i < kRun; ++i) {
    if (i >= count) continue;
    nan += isnan(gradient[i]) ? 1 : 0;
    nonzero = nonzero || gradient[i] != 0.0f;
  }
  report_gradient(step, image, nan, nonzero, told);
  if (!active || held) return;

#pragma unroll
  for (int i = 0; i < kRun; ++i) x[i] = moved_pixel(x[i], x0[i], gradient[i], move, eps);
  store_run(step.x + at, count, whole, x);
  store_run(static_cast<T*>(step.operand) + at, count, whole, x);
}

}  // namespace
}  // namespace signstep::kernels
