#include "small_program.h"

#include <algorithm>
#include <initializer_list>

namespace test {

using namespace signstep::program;

namespace {

Step make(Op op, const char* name, std::initializer_list<std::int32_t> buffers, std::initializer_list<Dim> ints,
          std::initializer_list<float> floats = {}) {
  Step step{};
  step.op = op;
  std::fill(step.buffers, step.buffers + kBuffers, kNone);
  std::copy(buffers.begin(), buffers.end(), step.buffers);
  std::copy(ints.begin(), ints.end(), step.ints);
  std::copy(floats.begin(), floats.end(), step.floats);
  std::strncpy(step.name, name, kNameBytes - 1);
  return step;
}

constexpr std::int64_t kPatches = 4, kPixels = 8, kWidth = 6, kClasses = 3;
enum : std::int32_t {
  kInput, kLogits, kImageGradient, kTokens, kNormal, kRstd, kFlat, kEmbed, kEmbedBack, kBias, kHead, kHeadBack, kLogitsGradient,
  kFlatGradient, kTokensGradient, kAll
};

}  // namespace

SmallProgram::SmallProgram() {
  constexpr std::int64_t embed = kWidth * kPixels, head = kClasses * kPatches * kWidth;
  data.resize(static_cast<std::size_t>(embed + kWidth + head));
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<float>(static_cast<int>(i * 37 % 41) - 20) / 32;
  program.header = {.channels = 2, .height = 4, .width = 4, .classes = kClasses, .layout = ImageLayout::patches, .patch = 2,
                    .loss = Loss::cross_entropy, .targeted = 0, .input = kInput, .logits = kLogits, .image_gradient = kImageGradient};
  program.buffers.resize(kAll);
  const auto activation = [&](std::int32_t index, ElementType type, Dim elements) {
    program.buffers[static_cast<std::size_t>(index)] = {type, Storage::activation, elements, 0, 0, 0};
  };
  activation(kInput, ElementType::value, -kPatches * kPixels);
  activation(kLogits, ElementType::float32, -kClasses);
  activation(kImageGradient, ElementType::float32, -kPatches * kPixels);
  activation(kTokens, ElementType::value, -kPatches * kWidth);
  activation(kNormal, ElementType::value, -kPatches * kWidth);
  activation(kRstd, ElementType::float32, -kPatches);
  activation(kFlat, ElementType::value, -kPatches * kWidth);
  activation(kLogitsGradient, ElementType::value, -kClasses);
  activation(kFlatGradient, ElementType::value, -kPatches * kWidth);
  activation(kTokensGradient, ElementType::value, -kPatches * kWidth);
  const auto constant = [&](std::int32_t index, ElementType type, std::int64_t at, std::int64_t elements) {
    program.buffers[static_cast<std::size_t>(index)] = {type, Storage::as_is, elements, 0, 0, static_cast<std::uint64_t>(4 * at)};
  };
  // The same weights serve forward and backward, once as they are and once transposed.
  const auto transposed = [&](std::int32_t index, std::int64_t at, std::int64_t rows, std::int64_t columns) {
    program.buffers[static_cast<std::size_t>(index)] = {ElementType::value, Storage::transposed, rows * columns, rows, columns,
                                                        static_cast<std::uint64_t>(4 * at)};
  };
  constant(kEmbed, ElementType::value, 0, embed);
  transposed(kEmbedBack, 0, kWidth, kPixels);
  constant(kBias, ElementType::float32, embed, kWidth);
  constant(kHead, ElementType::value, embed + kWidth, head);
  transposed(kHeadBack, embed + kWidth, kClasses, kPatches * kWidth);
  program.data = reinterpret_cast<const std::uint8_t*>(data.data());
  program.data_bytes = data.size() * sizeof(float);

  constexpr Dim rows = -kPatches;
  program.forward = {
      make(Op::gemm, "embed", {kInput, kEmbed, kTokens, kBias}, {rows, kWidth, kPixels, 0}),
      make(Op::layer_norm, "norm", {kTokens, kNormal, kRstd}, {rows, kWidth, 0}, {1e-6f}),
      make(Op::elementwise, "double", {kFlat, kNormal}, {22, 2, rows, kWidth, 0, 0, 0, 0, kWidth, 1}, {2.0f, 0.0f}),
      make(Op::gemm, "head", {kFlat, kHead, kLogits}, {-1, kClasses, kPatches * kWidth, 11}),
  };
  program.gradient = program.forward;
  program.gradient.push_back(make(Op::loss, "loss", {kLogits, kLogitsGradient}, {kClasses, 0, 0}));
  program.gradient.push_back(make(Op::gemm, "head", {kLogitsGradient, kHeadBack, kFlatGradient}, {-1, kPatches * kWidth, kClasses, 0}));
  program.gradient.push_back(
      make(Op::elementwise, "double", {kFlatGradient, kFlatGradient}, {22, 2, rows, kWidth, 0, 0, 0, 0, kWidth, 1}, {2.0f, 0.0f}));
  program.gradient.push_back(
      make(Op::layer_norm_backward, "norm", {kFlatGradient, kNormal, kRstd, kTokensGradient}, {rows, kWidth, 0}));
  program.gradient.push_back(make(Op::gemm, "embed", {kTokensGradient, kEmbedBack, kImageGradient}, {rows, kPixels, kWidth, 11}));
}

}  // namespace test
