// momentum = decay * momentum + gradient / mean|gradient|, then a step along its sign: MI-FGSM (step_momentum of signstep.h).
#include "gradient_size.cuh"
#include "step_rules.h"

namespace signstep::kernels {
namespace {

template <class T, bool kWide>
__global__ void __launch_bounds__(kWalkThreads) step_momentum_kernel(const Images images, const StepRule rule, const StepScratch scratch,
                                                                     const ImageWalk walk) {
  const WalkPlace place = walk_place(walk);
  if (!is_live(walk.live, place.image) || (rule.hold != nullptr && rule.hold[place.image] != 0)) return;
  WalkValues gradient, momentum, x, x0;
  load_groups<kWide>(rule.gradient, walk, place, gradient);
  load_groups<kWide>(rule.momentum, walk, place, momentum);
  load_groups<kWide>(images.x, walk, place, x);
  load_groups<kWide>(images.x0, walk, place, x0);
  const float move = rule.alpha[place.image], eps = projection_radius(rule.eps[place.image]), mean = scratch.lengths[place.image].x;
#pragma unroll
  for (int g = 0; g < kWalkGroups; g++) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const bool useless = is_not_finite(gradient[g][i]);
      const float fresh = useless ? 0.0f : __fdiv_rn(gradient[g][i], mean);
      const float sum = __fadd_rn(__fmul_rn(rule.decay, momentum[g][i]), fresh);
      momentum[g][i] = sum;
      x[g][i] = project_linf(__fadd_rn(x[g][i], useless ? 0.0f : move_along_sign(sum, move)), x0[g][i], eps);
    }
  }
  store_groups<kWide>(rule.momentum, walk, place, momentum);
  store_iterate<T, kWide>(images, walk, place, x);
}

}  // namespace

void step_momentum(const Images& images, const StepRule& rule, const ImageWalk& walk, rt::Stream stream) {
  const StepScratch scratch = step_scratch(rule.sums, images.images, images.elements());
  launch_gradient_size<Magnitudes, Mean>(images, rule, scratch, ImageLayout(images), walk, stream);
  const bool wide = aligned_groups(images, images.x, images.x0, rule.gradient, rule.momentum, images.operand);
  with_access(images, wide, [&]<class T, bool kWide>(Element<T>, Flag<kWide>) {
    launch("step_momentum", step_momentum_kernel<T, kWide>, walk.grid(), dim3(kWalkThreads), 0, stream, images, rule, scratch, walk);
  });
}

}  // namespace signstep::kernels
