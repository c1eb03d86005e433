#include <algorithm>
#include <cfloat>
#include <vector>

#include "../instruction_sets/instruction_sets.h"
#include "../parallel/run_passes.h"
#include "gradient_report.h"
#include "steps.h"

namespace signstep {

bool step_momentum(const signstep_step& step) {
  const KernelTable& k = kernels();
  const Batch batch = batch_of(step);
  GradientSums sums(step);
  std::vector<float> mean(batch.count);

  const Pass measure{
      .each_run = [&](const Run& run) { sums.set(run, k.sum_magnitudes(step.gradient + run.offset, run.length)); },
      // The lower bound keeps gradient/mean finite where every element is subnormal, and 0/mean a zero.
      .conclude =
          [&](std::size_t sample) {
            mean[sample] = std::max(static_cast<float>(sums.conclude(sample) / static_cast<double>(batch.elements)), FLT_MIN);
          },
  };
  const Pass move{
      .each_run =
          [&](const Run& run) {
            k.step_momentum(step.x + run.offset, step.x0 + run.offset, step.gradient + run.offset, step.momentum + run.offset,
                            run.length, static_cast<float>(step.direction) * step.alpha[run.sample],
                            projection_radius(step.eps[run.sample]), step.decay, mean[run.sample]);
          },
      .conclude = {},
  };
  return run_passes(batch, {measure, move});
}

}  // namespace signstep
