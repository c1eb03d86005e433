#include <cmath>
#include <vector>

#include "../instruction_sets/instruction_sets.h"
#include "../parallel/run_passes.h"
#include "steps.h"

namespace signstep {

void distances(std::size_t count, std::size_t elements, const float* a, const float* b, float* linf, float* l2) {
  const KernelTable& k = kernels();
  const Batch batch{count, elements, nullptr};
  std::vector<Distance> partial(count * batch.runs());
  run_passes(batch, {{
    .each_run = [&](const Run& run) { partial[run.index] = k.distance(a + run.offset, b + run.offset, run.length); },
    .conclude = [&](std::size_t sample) {
      Distance total;
      for (std::size_t i = sample * batch.runs(); i < (sample + 1) * batch.runs(); ++i) {
        total.largest = std::fmax(total.largest, partial[i].largest);
        total.squares += partial[i].squares;
      }
      // The largest magnitude alone would pass over a NaN.
      const bool nan = std::isnan(total.squares);
      if (linf != nullptr) linf[sample] = nan ? NAN : total.largest;
      if (l2 != nullptr) l2[sample] = static_cast<float>(std::sqrt(total.squares));
    },
  }});
}

}  // namespace signstep
