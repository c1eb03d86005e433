#include "../lanes/avx2.h"

#include "../kernels/all.h"
#include "instruction_sets.h"

namespace signstep {

const KernelTable kAvx2Kernels = make_kernel_table<Avx2>();

}  // namespace signstep
