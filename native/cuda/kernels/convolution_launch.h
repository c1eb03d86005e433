// The doors between convolution.cu, which decides, and the files that hold the kernels of one type each.
#pragma once

#include "convolution_args.cuh"
#include "convolution_dispatch.h"

namespace signstep::kernels {

void launch_convolution_bf16(const GemmConfig& config, const ConvolutionArgs& args, rt::Stream stream);
void launch_convolution_fp16(const GemmConfig& config, const ConvolutionArgs& args, rt::Stream stream);
void launch_convolution_float32(const GemmConfig& config, const ConvolutionArgs& args, rt::Stream stream);

}  // namespace signstep::kernels
