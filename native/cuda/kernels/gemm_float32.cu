// gemm() of float32 accuracy: three products of tf32 parts on the mma.sync core. For the passes that score, not for those that attack.
#include "gemm_mma.cuh"

namespace signstep::kernels {

// 128x64, a warp 32x64: each operand is split into its parts once for two slabs, and 64 accumulators leave room for the parts.
void launch_gemm_float32(const GemmConfig& config, const GemmArgs& args, rt::Stream stream) {
  using Large = mma::Tile<float, 4, 1, 2, 64, 4, 2>;
  using Small = mma::Tile<float, 4, 1, 1, 128, 3, 2>;
  if (!config.aligned)
    launch_gemm_mma<Small, false>("gemm_mma_float32_64x64_unaligned", "gemm_mma_float32_64x64_unaligned_rich", args, stream);
  else if (config.tile_rows == 128)
    launch_gemm_mma<Large, true>("gemm_mma_float32_128x64", "gemm_mma_float32_128x64_rich", args, stream);
  else
    launch_gemm_mma<Small, true>("gemm_mma_float32_64x64", "gemm_mma_float32_64x64_rich", args, stream);
}

}  // namespace signstep::kernels
