// convolution() in bf16 on the mma.sync core.
#include "convolution_mma.cuh"

namespace signstep::kernels {

void launch_convolution_bf16(const GemmConfig& config, const ConvolutionArgs& args, rt::Stream stream) {
  launch_convolution_mma16<signstep::device::bf16>(config, args, stream);
}

}  // namespace signstep::kernels
