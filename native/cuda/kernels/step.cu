// step(): one step of an attack, by its rule.
#include "image_walk.cuh"
#include "step_rules.h"
#include "step_scratch.cuh"

namespace signstep::kernels {

std::int64_t step_scratch_doubles(std::int64_t images, std::int64_t elements) { return images * (2 * sum_runs(elements) + 1); }

void step(const Images& images, const StepRule& rule, rt::Stream stream) {
  const ImageWalk walk = image_walk(images, "step");
  if (walk.images == 0) return;
  require(images.x != nullptr && images.x0 != nullptr && rule.gradient != nullptr && rule.alpha != nullptr && rule.eps != nullptr, "step",
          "x, x0, gradient, alpha and eps are needed");
  require(rule.kind == StepRule::Kind::linf || rule.sums != nullptr, "step", "sums is needed for a norm: step_scratch_doubles() of them");
  switch (rule.kind) {
    case StepRule::Kind::linf: return step_linf(images, rule, walk, stream);
    case StepRule::Kind::l2: return step_l2(images, rule, walk, stream);
    case StepRule::Kind::momentum:
      require(rule.momentum != nullptr, "step", "momentum is needed");
      return step_momentum(images, rule, walk, stream);
  }
}

}  // namespace signstep::kernels
