#include <algorithm>
#include <cfloat>
#include <cmath>
#include <vector>

#include "../instruction_sets/instruction_sets.h"
#include "../parallel/run_passes.h"
#include "gradient_report.h"
#include "shrink_factor.h"
#include "steps.h"

namespace signstep {

bool step_l2(const signstep_step& step) {
  const KernelTable& k = kernels();
  const Batch batch = batch_of(step);
  GradientSums sums(step);
  std::vector<float> norm(batch.count);
  std::vector<double> squares(batch.count * batch.runs());
  std::vector<float> factor(batch.count);  // 1: inside the ball, nothing to project

  const Pass measure{
      .each_run = [&](const Run& run) { sums.set(run, k.sum_squares(step.gradient + run.offset, run.length)); },
      // The upper bound keeps the norm of a gradient of the largest floats finite.
      .conclude =
          [&](std::size_t sample) {
            norm[sample] = static_cast<float>(std::clamp(std::sqrt(sums.conclude(sample)), 1e-12, double{FLT_MAX}));
          },
  };
  const Pass move{
      .each_run =
          [&](const Run& run) {
            squares[run.index] = k.move_l2(step.x + run.offset, step.x0 + run.offset, step.gradient + run.offset, run.length,
                                           static_cast<float>(step.direction) * step.alpha[run.sample], norm[run.sample]);
          },
      .conclude =
          [&](std::size_t sample) {
            double total = 0;
            for (std::size_t i = 0; i < batch.runs(); ++i) total += squares[sample * batch.runs() + i];
            const double distance = std::sqrt(total), eps = step.eps[sample];
            factor[sample] = eps >= 0 && distance > eps ? shrink_factor(eps, distance) : 1.0f;
          },
  };
  const Pass project{
      .each_run =
          [&](const Run& run) {
            if (factor[run.sample] == 1.0f)
              k.clamp(step.x + run.offset, run.length);
            else
              k.project_l2(step.x + run.offset, step.x0 + run.offset, run.length, factor[run.sample]);
          },
      .conclude = {},
  };
  return run_passes(batch, {measure, move, project});
}

}  // namespace signstep
