// The doors between gemm.cu, which decides, and the files that hold one family of kernels each: a file compiles in seconds.
#pragma once

#include "gemm_args.cuh"
#include "gemm_dispatch.h"

namespace signstep::kernels {

// What gemm() and convolution() have in common.
// n is a multiple of 8 and all the epilogue's arrays begin on 16 bytes.
bool has_whole_runs(const Gemm& gemm);
GemmArgs gemm_args(const Gemm& gemm);
GemmDevice this_gemm_device();

void launch_gemm_bf16(const GemmConfig& config, const GemmArgs& args, rt::Stream stream);
void launch_gemm_fp16(const GemmConfig& config, const GemmArgs& args, rt::Stream stream);
void launch_gemm_float32(const GemmConfig& config, const GemmArgs& args, rt::Stream stream);
void launch_gemm_e4m3(const GemmConfig& config, const GemmArgs& args, const GemmDevice& device, rt::Stream stream);
void launch_gemm_wgmma(Precision precision, const GemmConfig& config, const GemmArgs& args, const GemmDevice& device, rt::Stream stream);

}  // namespace signstep::kernels
