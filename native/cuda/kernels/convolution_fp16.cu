// convolution() in fp16 on the mma.sync core.
#include "convolution_mma.cuh"

namespace signstep::kernels {

void launch_convolution_fp16(const GemmConfig& config, const ConvolutionArgs& args, rt::Stream stream) {
  launch_convolution_mma16<signstep::device::f16>(config, args, stream);
}

}  // namespace signstep::kernels
