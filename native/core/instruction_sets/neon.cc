#include "../lanes/neon.h"

#include "../kernels/all.h"
#include "instruction_sets.h"

namespace signstep {

const KernelTable kNeonKernels = make_kernel_table<Neon>();

}  // namespace signstep
