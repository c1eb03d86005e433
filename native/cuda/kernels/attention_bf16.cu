// attention() in bf16.
#include "attention_forward.cuh"

namespace signstep::kernels {

void launch_attention_bf16(const Attention& args, const AttentionGrid& grid, rt::Stream stream) {
  launch_attention16<bf16>(args, grid, stream);
}

}  // namespace signstep::kernels
