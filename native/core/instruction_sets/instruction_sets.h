// The kernels of every instruction set this build holds, and which of them runs.
#pragma once

#include <string_view>

#include "../kernel_table.h"

namespace signstep {

extern const KernelTable kScalarKernels;
#if defined(SIGNSTEP_X86_64)
extern const KernelTable kAvx2Kernels;
extern const KernelTable kAvx512Kernels;
#elif defined(SIGNSTEP_AARCH64)
extern const KernelTable kNeonKernels;
#endif

// The widest the processor has, unless another was chosen.
const KernelTable& kernels();

// Returns false, and changes nothing, if the processor or this build lacks it.
bool choose_instruction_set(std::string_view name);

}  // namespace signstep
