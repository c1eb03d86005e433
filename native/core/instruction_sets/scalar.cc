#include "../lanes/scalar.h"

#include "../kernels/all.h"
#include "instruction_sets.h"

namespace signstep {

const KernelTable kScalarKernels = make_kernel_table<Scalar>();

}  // namespace signstep
