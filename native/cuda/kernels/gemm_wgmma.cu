// gemm() in bf16 and fp16 on the wgmma core.
#include "gemm_wgmma.cuh"

namespace signstep::kernels {
namespace {

// As many stages as fit beside the 64 KB through which results are written. 128 x 192 in turns holds 192 accumulators a thread, of 240
// registers: step_linf finds no room there, nor does a folded LayerNorm (36 bytes of spills). 128 x 256 cannot be held that way at all.
template <class T>
void launch_type(const GemmConfig& config, const GemmArgs& args, const GemmDevice& device, rt::Stream stream) {
  if (config.tile_columns == 256)
    launch_tile<wgmma::Tile<T, 256, 3, false>>("gemm_wgmma_128x256", "gemm_wgmma_128x256_rich", args, device, stream);
  else if (config.tile_columns == 192)
    launch_tile<wgmma::Tile<T, 192, 4, true>>("gemm_wgmma_128x192", nullptr, args, device, stream);
  else
    launch_tile<wgmma::Tile<T, 128, 5, true>>("gemm_wgmma_128x128", "gemm_wgmma_128x128_rich", args, device, stream);
}

}  // namespace

void launch_gemm_wgmma(Precision precision, const GemmConfig& config, const GemmArgs& args, const GemmDevice& device, rt::Stream stream) {
  if (precision == Precision::bf16)
    launch_type<bf16>(config, args, device, stream);
  else
    launch_type<f16>(config, args, device, stream);
}

}  // namespace signstep::kernels
