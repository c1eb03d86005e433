// attention() in fp16.
#include "attention_forward.cuh"

namespace signstep::kernels {

void launch_attention_fp16(const Attention& args, const AttentionGrid& grid, rt::Stream stream) {
  launch_attention16<f16>(args, grid, stream);
}

}  // namespace signstep::kernels
