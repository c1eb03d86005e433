// The doors between gemm.cu, which decides, and the files that hold one family of kernels each: a file compiles in seconds.
#pragma once

#include "gemm_args.cuh"
#include "gemm_dispatch.h"

namespace signstep::kernels {

void launch_gemm_bf16(const GemmConfig& config, const GemmArgs& args, rt::Stream stream);
void launch_gemm_fp16(const GemmConfig& config, const GemmArgs& args, rt::Stream stream);
void launch_gemm_float32(const GemmConfig& config, const GemmArgs& args, rt::Stream stream);
void launch_gemm_wgmma(Precision precision, const GemmConfig& config, const GemmArgs& args, const GemmDevice& device, rt::Stream stream);

}  // namespace signstep::kernels
