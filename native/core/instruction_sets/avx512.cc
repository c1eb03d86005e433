#include "../lanes/avx512.h"

#include "../kernels/all.h"
#include "instruction_sets.h"

namespace signstep {

const KernelTable kAvx512Kernels = make_kernel_table<Avx512>();

}  // namespace signstep
