// Running a grid: its blocks are spread over as many OS threads as there are processors.
#pragma once

#include "block.h"

namespace signstep::sim {

// Runs every block of the call and returns; throws rt::Failure{launch, "<kernel>: block (..), thread (..): <what>"} where one failed.
// One launch at a time: others wait.
void run_grid(const Call& call);

}  // namespace signstep::sim
