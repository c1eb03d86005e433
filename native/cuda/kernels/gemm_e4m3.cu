// gemm() of operands in e4m3 with a scale a row, on both cores. Sums of the tensor cores are added up in float32 every 128 columns of K, which
// takes a second set of accumulators: tiles are half as large as those of 16-bit types. No file of its own for each core: three kernels.
#include "gemm_mma.cuh"
#include "gemm_wgmma.cuh"

namespace signstep::kernels {

// mma.sync: 64x128, 64 accumulators twice, 48 KB of stages, two blocks a multiprocessor.
void launch_gemm_e4m3(const GemmConfig& config, const GemmArgs& args, const GemmDevice& device, rt::Stream stream) {
  if (config.core == GemmCore::mma)
    launch_gemm_mma<mma::Tile<e4m3, 2, 2, 2, 64, 4, 2>, true>("gemm_mma_e4m3_64x128", nullptr, args, stream);
  else if (config.tile_columns == 192)
    launch_tile<wgmma::Tile<e4m3, 192, 4, false>>("gemm_wgmma_e4m3_128x192", nullptr, args, device, stream);
  else
    launch_tile<wgmma::Tile<e4m3, 128, 5, false>>("gemm_wgmma_e4m3_128x128", nullptr, args, device, stream);
}

}  // namespace signstep::kernels
