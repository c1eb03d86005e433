// convolution() of float32 accuracy: the tiles and the three products of tf32 parts of gemm_float32.cu.
#include "convolution_mma.cuh"

namespace signstep::kernels {

void launch_convolution_float32(const GemmConfig& config, const ConvolutionArgs& args, rt::Stream stream) {
  using Large = mma::Tile<float, 4, 1, 2, 64, 4, 2>;
  using Small = mma::Tile<float, 4, 1, 1, 128, 3, 2>;
  if (!config.aligned)
    launch_convolution_mma<Small, false>("convolution_mma_float32_64x64_unaligned", args, stream);
  else if (config.tile_rows == 128)
    launch_convolution_mma<Large, true>("convolution_mma_float32_128x64", args, stream);
  else
    launch_convolution_mma<Small, true>("convolution_mma_float32_64x64", args, stream);
}

}  // namespace signstep::kernels
