#include <vector>

#include "../instruction_sets/instruction_sets.h"
#include "../parallel/run_passes.h"
#include "gradient_report.h"
#include "steps.h"

namespace signstep {

bool step_linf(const signstep_step& step) {
  const KernelTable& k = kernels();
  const Batch batch = batch_of(step);
  std::vector<GradientCounts> counts(batch.count * batch.runs());
  return run_passes(batch, {{
    .each_run = [&](const Run& run) {
      counts[run.index] = k.step_linf(step.x + run.offset, step.x0 + run.offset, step.gradient + run.offset, run.length,
                                      static_cast<float>(step.direction) * step.alpha[run.sample],
                                      projection_radius(step.eps[run.sample]));
    },
    .conclude = [&](std::size_t sample) { report_gradient(step, sample, counts.data() + sample * batch.runs(), batch.runs()); },
  }});
}

}  // namespace signstep
