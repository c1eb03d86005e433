// Weights that the precision cannot hold would come out as NaN somewhere behind: said at load instead.
#pragma once

#include <vector>

#include "../../core/program/program.h"
#include "../kernels/kernels.h"

namespace signstep::engine {

// Throws rt::Failure{invalid} for a product among `steps` with a weight that is infinite once rounded to the precision; NaN is refused when a
// plan is read. Other constants may be infinite: masks are.
void check_weights(const program::Program& program, const std::vector<program::Step>& steps, kernels::Precision precision);

}  // namespace signstep::engine
