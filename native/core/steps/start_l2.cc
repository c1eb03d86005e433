#include <cmath>
#include <vector>

#include "../instruction_sets/instruction_sets.h"
#include "../parallel/run_passes.h"
#include "shrink_factor.h"
#include "steps.h"
#include "stream.h"
#include "unit_root.h"

namespace signstep {
namespace {

// Volume grows with radius^elements, so a uniform point of the ball lies at eps·u^(1/elements).
double radius_of(const signstep_start& start, std::size_t sample) {
  if (start.sphere != 0) return start.eps[sample];
  const PhiloxStream stream = stream_of(start, sample, SIGNSTEP_PURPOSE_BALL_RADIUS);
  const PhiloxBlock block = philox4x32_10({{0, stream.sample, stream.step, stream.restart_and_purpose}}, stream.key[0], stream.key[1]);
  const double u = ((block.word[0] >> 8) + 1) * 0x1p-24;
  return start.eps[sample] * unit_root(u, start.elements);
}

}  // namespace

bool start_l2(const signstep_start& start) {
  const KernelTable& k = kernels();
  const Batch batch{start.count, start.elements, start.cancel};
  std::vector<double> squares(batch.count * batch.runs());
  std::vector<float> factor(batch.count);
  const Pass draw{
      .each_run =
          [&](const Run& run) {
            squares[run.index] = k.gaussian(start.out + run.offset, run.length,
                                            stream_of(start, run.sample, SIGNSTEP_PURPOSE_GAUSSIAN_START), run.first);
          },
      .conclude =
          [&](std::size_t sample) {
            double total = 0;
            for (std::size_t i = 0; i < batch.runs(); ++i) total += squares[sample * batch.runs() + i];
            factor[sample] = shrink_factor(radius_of(start, sample), std::sqrt(total));
          },
  };
  const Pass place{
      .each_run = [&](const Run& run) { k.start_l2(start.out + run.offset, start.x0 + run.offset, run.length, factor[run.sample]); },
      .conclude = {},
  };
  return run_passes(batch, {draw, place});
}

}  // namespace signstep
