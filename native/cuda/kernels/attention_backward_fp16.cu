// attention_backward() in fp16.
#include "attention_backward.cuh"

namespace signstep::kernels {

void launch_attention_backward_fp16(const AttentionBackward& args, const AttentionBackwardPlan& plan, rt::Stream stream) {
  launch_attention_backward16<f16>(args, plan, stream);
}

}  // namespace signstep::kernels
