// gemm() in fp16 on the mma.sync core.
#include "gemm_mma.cuh"

namespace signstep::kernels {

void launch_gemm_fp16(const GemmConfig& config, const GemmArgs& args, rt::Stream stream) {
  launch_gemm_mma16<signstep::device::f16>(config, args, stream);
}

}  // namespace signstep::kernels
