// convolution() by a kernel of choice.
#pragma once

#include "gemm_dispatch.h"

namespace signstep::kernels {

// For tests and for measuring. Throws rt::Failure where the kernel cannot serve the shape.
void convolution(const Convolution& args, rt::Stream stream, const GemmConfig& config);

}  // namespace signstep::kernels
