#include "step_shape.h"

#include <algorithm>
#include <span>

namespace signstep::program {
namespace {

struct Size {
  int at;  // of Step::ints
  const char* name;
};

constexpr Size kGemm[] = {{0, "rows"}, {1, "n"}, {2, "k"}};
constexpr Size kRows[] = {{0, "rows"}, {1, "columns"}};
constexpr Size kAttention[] = {{0, "images"}, {1, "heads"}, {2, "length"}, {3, "head size"}};
constexpr Size kBatchedMatmul[] = {{0, "m"}, {1, "n"}, {2, "k"}};
constexpr Size kGather[] = {{0, "outer"}, {1, "axis"}, {2, "inner"}, {3, "count"}};
constexpr Size kFill[] = {{0, "elements"}};
constexpr Size kLoss[] = {{0, "classes"}};
constexpr Size kConvolution[] = {{0, "images"}, {4, "height"}, {5, "width"}, {6, "channels"}, {1, "n"}};
constexpr Size kPool[] = {{0, "images"}, {2, "height"}, {3, "width"}, {4, "channels"}};

std::span<const Size> named_sizes(Op op) {
  switch (op) {
    case Op::gemm: return kGemm;
    case Op::layer_norm:
    case Op::layer_norm_backward:
    case Op::row_statistics:
    case Op::softmax:
    case Op::softmax_backward: return kRows;
    case Op::attention:
    case Op::attention_backward: return kAttention;
    case Op::batched_matmul: return kBatchedMatmul;
    case Op::gather:
    case Op::scatter_add: return kGather;
    case Op::fill: return kFill;
    case Op::loss: return kLoss;
    case Op::convolution: return kConvolution;
    case Op::max_pool:
    case Op::max_pool_backward:
    case Op::average_pool:
    case Op::average_pool_backward: return kPool;
    default: return {};
  }
}

// Operations on strided views: where their rank stands, the dimensions behind it.
int rank_at(Op op) {
  if (op == Op::elementwise || op == Op::reduce) return 1;
  return op == Op::copy ? 0 : -1;
}

}  // namespace

std::string step_shape(const Step& step, std::int64_t batch) {
  const auto size = [&](int at) { return std::to_string(resolve(step.ints[at], batch)); };
  std::string text;
  for (const Size& each : named_sizes(step.op)) text += (text.empty() ? "" : ", ") + std::string(each.name) + " " + size(each.at);
  if (step.op == Op::batched_matmul) return text + ", matrices " + size(3) + " x " + size(4) + " x " + size(5);
  const int rank = rank_at(step.op);
  if (rank < 0) return text;
  const auto count = static_cast<int>(std::clamp<Dim>(step.ints[rank], 0, 6));
  for (int i = 0; i < count; ++i) text += (i == 0 ? "" : " x ") + size(rank + 1 + i);
  return text;
}

}  // namespace signstep::program
