// The operations of the C interface on checked arguments: kernels over the runs of a batch, sums of runs added in their order.
// Every function returns false if its cancel flag was seen.
#pragma once

#include <cstddef>

#include "signstep/signstep.h"

namespace signstep {

bool start_uniform(const signstep_start& start);
bool start_l2(const signstep_start& start);
bool step_linf(const signstep_step& step);
bool step_l2(const signstep_step& step);
bool step_momentum(const signstep_step& step);
void distances(std::size_t count, std::size_t elements, const float* a, const float* b, float* linf, float* l2);

}  // namespace signstep
