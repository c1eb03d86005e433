// convolution() of float32 accuracy: three products of tf32 parts, see gemm_float32.cu.
#include "convolution_mma.cuh"

namespace signstep::kernels {

// 64x64 for every shape: at 128x64 the parts of both operands and the places of four windows a thread do not fit into 255 registers.
void launch_convolution_float32(const GemmConfig& config, const ConvolutionArgs& args, rt::Stream stream) {
  using Tile = mma::Tile<float, 4, 1, 1, 128, 3, 2>;
  if (config.aligned)
    launch_convolution_mma<Tile, true>("convolution_mma_float32_64x64", args, stream);
  else
    launch_convolution_mma<Tile, false>("convolution_mma_float32_64x64_unaligned", args, stream);
}

}  // namespace signstep::kernels
