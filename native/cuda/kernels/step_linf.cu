// x = clamp(project(x + alpha * sign(gradient))): the step of FGSM and PGD, in one pass over memory (step_linf of signstep.h).
#include "image_walk.cuh"
#include "pixel.cuh"
#include "step_rules.h"

namespace signstep::kernels {
namespace {

__global__ void clear_report(std::uint32_t images, const std::int32_t* live, std::int32_t* nan_count, std::int32_t* nonzero) {
  const std::uint32_t image = blockIdx.x * blockDim.x + threadIdx.x;
  if (image >= images || !is_live(live, image)) return;
  if (nan_count != nullptr) nan_count[image] = 0;
  if (nonzero != nullptr) nonzero[image] = 0;
}

// What a thread saw of the gradient, added to the image's report. Integers only: the order of the atomics does not show.
__device__ __forceinline__ void report(const StepRule& rule, std::uint32_t image, int nan, bool nonzero) {
  const bool first = threadIdx.x % 32 == 0;
  if (rule.nonzero != nullptr && __any_sync(0xFFFFFFFFu, nonzero) && first) atomicOr(rule.nonzero + image, 1);
  if (rule.nan_count != nullptr && __any_sync(0xFFFFFFFFu, nan > 0)) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) nan += __shfl_xor_sync(0xFFFFFFFFu, nan, distance);
    if (first) atomicAdd(rule.nan_count + image, nan);
  }
}

template <class T, bool kWide>
__global__ void __launch_bounds__(kWalkThreads) step_linf_kernel(const Images images, const StepRule rule, const ImageWalk walk) {
  const WalkPlace place = walk_place(walk);
  if (!is_live(walk.live, place.image)) return;
  const bool held = rule.hold != nullptr && rule.hold[place.image] != 0;
  WalkValues gradient, x, x0;
  load_groups<kWide>(rule.gradient, walk, place, gradient);
  if (!held) {
    load_groups<kWide>(images.x, walk, place, x);
    load_groups<kWide>(images.x0, walk, place, x0);
  }
  int nan = 0;
  bool nonzero = false;
#pragma unroll
  for (int g = 0; g < kWalkGroups; g++) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      nan += gradient[g][i] != gradient[g][i] ? 1 : 0;
      nonzero = nonzero || gradient[g][i] != 0.0f;
    }
  }
  report(rule, place.image, nan, nonzero);
  if (held) return;
  const float move = rule.alpha[place.image], eps = projection_radius(rule.eps[place.image]);
#pragma unroll
  for (int g = 0; g < kWalkGroups; g++) {
#pragma unroll
    for (int i = 0; i < 4; i++) x[g][i] = project_linf(__fadd_rn(x[g][i], move_along_sign(gradient[g][i], move)), x0[g][i], eps);
  }
  store_iterate<T, kWide>(images, walk, place, x);
}

}  // namespace

void step_linf(const Images& images, const StepRule& rule, const ImageWalk& walk, rt::Stream stream) {
  if (rule.nan_count != nullptr || rule.nonzero != nullptr)
    launch("clear_report", clear_report, dim3(blocks_for(walk.images, 256)), dim3(256), 0, stream, walk.images, walk.live, rule.nan_count,
           rule.nonzero);
  const bool wide = aligned_groups(images, images.x, images.x0, rule.gradient, images.operand);
  with_access(images, wide, [&]<class T, bool kWide>(Element<T>, Flag<kWide>) {
    launch("step_linf", step_linf_kernel<T, kWide>, walk.grid(), dim3(kWalkThreads), 0, stream, images, rule, walk);
  });
}

}  // namespace signstep::kernels
