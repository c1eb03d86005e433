// attention_backward() in bf16.
#include "attention_backward.cuh"

namespace signstep::kernels {

void launch_attention_backward_bf16(const AttentionBackward& args, const AttentionBackwardPlan& plan, rt::Stream stream) {
  launch_attention_backward16<bf16>(args, plan, stream);
}

}  // namespace signstep::kernels
