#include "../instruction_sets/instruction_sets.h"
#include "../parallel/run_passes.h"
#include "steps.h"
#include "stream.h"

namespace signstep {

bool start_uniform(const signstep_start& start) {
  const KernelTable& k = kernels();
  return run_passes({start.count, start.elements, start.cancel}, {{
    .each_run = [&](const Run& run) {
      k.start_uniform(start.out + run.offset, start.x0 + run.offset, run.length, start.scale * start.eps[run.sample],
                      stream_of(start, run.sample, SIGNSTEP_PURPOSE_UNIFORM_START), run.first);
    },
    .conclude = {},
  }});
}

}  // namespace signstep
