// The doors between convolution.cu, which decides, and the files that hold the kernels of one type each.
#pragma once

#include "convolution_args.cuh"
#include "gemm_dispatch.h"

namespace signstep::kernels {

void launch_convolution_bf16(const GemmConfig& config, const ConvolutionArgs& args, rt::Stream stream);
void launch_convolution_fp16(const GemmConfig& config, const ConvolutionArgs& args, rt::Stream stream);
void launch_convolution_float32(const GemmConfig& config, const ConvolutionArgs& args, rt::Stream stream);

// convolution() by the very kernel: for tests and for measuring. Throws rt::Failure where it cannot serve the shape.
void convolution(const Convolution& args, rt::Stream stream, const GemmConfig& config);

}  // namespace signstep::kernels
