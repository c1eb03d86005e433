#include "operands.h"

#include "gemm_epilogue.h"

namespace signstep::program {
namespace {

constexpr Access kRead = Access::read, kWrite = Access::write;

constexpr StepOperand kGemm[] = {
    {0, "a", kRead, false},   {1, "b", kRead, false},     {2, "out", kWrite, false}, {3, "bias", kRead, true},
    {4, "scale", kRead, true}, {5, "residual", kRead, true}, {7, "table", kRead, true},
    {8, "norm_statistics", kRead, true}, {9, "column_sums", kRead, true}, {10, "statistics", kWrite, true},
};
// The pre-activation: the forward epilogues leave it, the backward ones need it.
constexpr StepOperand kGemmActivation[] = {
    {0, "a", kRead, false},   {1, "b", kRead, false},     {2, "out", kWrite, false}, {3, "bias", kRead, true},
    {4, "scale", kRead, true}, {5, "residual", kRead, true}, {6, "aux", kWrite, true}, {7, "table", kRead, true},
    {8, "norm_statistics", kRead, true}, {9, "column_sums", kRead, true},
};
constexpr StepOperand kGemmBackward[] = {
    {0, "a", kRead, false},   {1, "b", kRead, false},     {2, "out", kWrite, false}, {3, "bias", kRead, true},
    {4, "scale", kRead, true}, {5, "residual", kRead, true}, {6, "aux", kRead, false}, {7, "table", kRead, true}, {11, "dots", kWrite, true},
};
constexpr StepOperand kGemmNormBackward[] = {
    {0, "a", kRead, false},   {1, "b", kRead, false},  {2, "out", kWrite, false}, {5, "residual", kRead, true},
    {6, "x", kRead, false}, {8, "norm_statistics", kRead, false}, {11, "dots", kRead, false},
};
constexpr StepOperand kConvolution[] = {
    {0, "a", kRead, false},  {1, "b", kRead, false},    {2, "out", kWrite, false},
    {3, "bias", kRead, true}, {4, "scale", kRead, true}, {5, "residual", kRead, true},
};
constexpr StepOperand kConvolutionActivation[] = {
    {0, "a", kRead, false},    {1, "b", kRead, false},    {2, "out", kWrite, false},    {3, "bias", kRead, true},
    {4, "scale", kRead, true}, {5, "residual", kRead, true}, {6, "aux", kWrite, true},
};
constexpr StepOperand kConvolutionBackward[] = {
    {0, "a", kRead, false},    {1, "b", kRead, false},    {2, "out", kWrite, false},    {3, "bias", kRead, true},
    {4, "scale", kRead, true}, {5, "residual", kRead, true}, {6, "aux", kRead, false},
};
constexpr StepOperand kMaxPoolBackward[] = {{0, "dx", kWrite, false}, {1, "x", kRead, false}, {2, "dy", kRead, false}};
constexpr StepOperand kAveragePoolBackward[] = {{0, "dx", kWrite, false}, {1, "dy", kRead, false}};
constexpr StepOperand kLayerNorm[] = {{0, "x", kRead, false}, {1, "y", kWrite, false}, {2, "rstd", kWrite, false}};
constexpr StepOperand kLayerNormBackward[] = {
    {0, "dy", kRead, false}, {1, "y", kRead, false}, {2, "rstd", kRead, true}, {3, "dx", kWrite, false}, {4, "addend", kRead, true},
    {5, "statistics", kRead, true}};
constexpr StepOperand kRowStatistics[] = {{0, "x", kRead, false}, {1, "statistics", kWrite, false}};
constexpr StepOperand kAttention[] = {{0, "q", kRead, false},    {1, "k", kRead, false},    {2, "v", kRead, false},
                                      {3, "out", kWrite, false}, {4, "lse", kWrite, false}};
constexpr StepOperand kAttentionBackward[] = {
    {0, "q", kRead, false},   {1, "k", kRead, false},    {2, "v", kRead, false},
    {3, "out", kRead, false}, {4, "lse", kRead, false},  {5, "dout", kRead, false},
    {6, "dq", kWrite, false}, {7, "dk", kWrite, false},  {8, "dv", kWrite, false},
};
// How many of a, b and c an elementwise step needs follows from its function: see check_step.
constexpr StepOperand kElementwise[] = {
    {0, "out", kWrite, false}, {1, "a", kRead, false}, {2, "b", kRead, true}, {3, "c", kRead, true}};
constexpr StepOperand kUnary[] = {{0, "out", kWrite, false}, {1, "in", kRead, false}};
constexpr StepOperand kSoftmaxBackward[] = {{0, "dx", kWrite, false}, {1, "y", kRead, false}, {2, "dy", kRead, false}};
constexpr StepOperand kBatchedMatmul[] = {{0, "out", kWrite, false}, {1, "a", kRead, false}, {2, "b", kRead, false}};
constexpr StepOperand kGather[] = {{0, "out", kWrite, false}, {1, "in", kRead, false}, {2, "indices", kRead, false}};
constexpr StepOperand kFill[] = {{0, "out", kWrite, false}};
constexpr StepOperand kLoss[] = {{0, "logits", kRead, false}, {1, "dlogits", kWrite, false}};

}  // namespace

const char* op_name(Op op) {
  switch (op) {
    case Op::gemm: return "gemm";
    case Op::layer_norm: return "layer_norm";
    case Op::layer_norm_backward: return "layer_norm_backward";
    case Op::attention: return "attention";
    case Op::attention_backward: return "attention_backward";
    case Op::elementwise: return "elementwise";
    case Op::reduce: return "reduce";
    case Op::copy: return "copy";
    case Op::softmax: return "softmax";
    case Op::softmax_backward: return "softmax_backward";
    case Op::batched_matmul: return "batched_matmul";
    case Op::gather: return "gather";
    case Op::scatter_add: return "scatter_add";
    case Op::fill: return "fill";
    case Op::loss: return "loss";
    case Op::row_statistics: return "row_statistics";
    case Op::convolution: return "convolution";
    case Op::max_pool: return "max_pool";
    case Op::max_pool_backward: return "max_pool_backward";
    case Op::average_pool: return "average_pool";
    case Op::average_pool_backward: return "average_pool_backward";
  }
  return nullptr;
}

std::span<const StepOperand> operands(const Step& step) {
  switch (step.op) {
    case Op::gemm:
      if (step.ints[3] == kNormBackward) return kGemmNormBackward;
      if (writes_aux(step.ints[3])) return kGemmActivation;
      if (reads_aux(step.ints[3])) return kGemmBackward;
      return kGemm;
    case Op::convolution:
      if (writes_aux(step.ints[2])) return kConvolutionActivation;
      if (reads_aux(step.ints[2])) return kConvolutionBackward;
      return kConvolution;
    case Op::max_pool:
    case Op::average_pool: return kUnary;
    case Op::max_pool_backward: return kMaxPoolBackward;
    case Op::average_pool_backward: return kAveragePoolBackward;
    case Op::layer_norm: return kLayerNorm;
    case Op::layer_norm_backward: return kLayerNormBackward;
    case Op::attention: return kAttention;
    case Op::attention_backward: return kAttentionBackward;
    case Op::elementwise: return kElementwise;
    case Op::reduce:
    case Op::copy:
    case Op::softmax: return kUnary;
    case Op::softmax_backward: return kSoftmaxBackward;
    case Op::batched_matmul: return kBatchedMatmul;
    case Op::gather:
    case Op::scatter_add: return kGather;
    case Op::fill: return kFill;
    case Op::loss: return kLoss;
    case Op::row_statistics: return kRowStatistics;
  }
  return {};
}

}  // namespace signstep::program
