#include "e4m3_products.h"

#include <algorithm>

#include "../../core/program/gemm_epilogue.h"
#include "../../core/program/operands.h"

namespace signstep::engine {
namespace {

using program::Dim;
using program::Op;
using program::Step;

// What kernels::Gemm asks of e4m3, and a K below which quantising costs what the product saves.
constexpr Dim kLeastDepth = 64, kDepthUnit = 16, kColumnUnit = 8;

// Buffers that stay in the plan's own precision wherever a product reads or writes them:
//   pixels             a step of PGD is 2/255; e4m3 tells 1 from 15/16, so the perturbation would be rounded away
//   the image gradient its signs are the result, and the step at its end is a kernel of values
//   logits' gradient   the head has one row an image, so no time is saved, and an error in it is in every pixel's gradient
std::vector<bool> precious_buffers(const program::Program& program, const std::vector<Step>& steps) {
  std::vector<bool> pixels(program.buffers.size(), false), gradients(program.buffers.size(), false);
  const auto mark = [](std::vector<bool>& set, std::int32_t index) { set[static_cast<std::size_t>(index)] = true; };
  const auto marked = [](const std::vector<bool>& set, std::int32_t index) { return set[static_cast<std::size_t>(index)]; };
  mark(pixels, program.header.input);
  mark(gradients, program.header.image_gradient);
  mark(gradients, program.header.logits);
  // Copies only move them.
  for (const Step& step : steps) {
    if (step.op == Op::copy && marked(pixels, step.buffers[1])) mark(pixels, step.buffers[0]);
    if (step.op == Op::loss) mark(pixels, step.buffers[1]);
  }
  for (auto step = steps.rbegin(); step != steps.rend(); ++step)
    if (step->op == Op::copy && marked(gradients, step->buffers[0])) mark(gradients, step->buffers[1]);
  std::transform(pixels.begin(), pixels.end(), gradients.begin(), pixels.begin(), [](bool a, bool b) { return a || b; });
  return pixels;
}

bool suits(const Step& step, const std::vector<bool>& precious) {
  if (step.op != Op::gemm || step.ints[3] == program::kStoreFloat) return false;
  const Dim n = step.ints[1], k = step.ints[2];
  return k >= kLeastDepth && k % kDepthUnit == 0 && n > 0 && n % kColumnUnit == 0 && !precious[static_cast<std::size_t>(step.buffers[0])] &&
         !precious[static_cast<std::size_t>(step.buffers[2])];
}

// The same rows of the same buffer.
bool same_operand(const Step& one, const Step& other) {
  constexpr int kSame[] = {0, 2, 4, 5, 6, 10};  // rows, k, the row map of a, live
  return one.buffers[0] == other.buffers[0] && std::all_of(std::begin(kSame), std::end(kSame), [&](int i) { return one.ints[i] == other.ints[i]; });
}

bool writes(const Step& step, std::int32_t buffer) {
  const auto operands = program::operands(step);
  return std::any_of(operands.begin(), operands.end(), [&](const program::StepOperand& operand) {
    return operand.access == program::Access::write && step.buffers[operand.slot] == buffer;
  });
}

}  // namespace

E4m3Products choose_e4m3_products(const program::Program& program, const std::vector<Step>& steps) {
  const std::vector<bool> precious = precious_buffers(program, steps);
  E4m3Products chosen;
  chosen.steps.resize(steps.size());
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (!suits(steps[i], precious)) continue;
    E4m3Products::Product& own = chosen.steps[i];
    for (std::size_t before = i; before-- > 0 && !writes(steps[before], steps[i].buffers[0]);)
      if (chosen.steps[before].operand >= 0 && same_operand(steps[before], steps[i])) {
        own.operand = chosen.steps[before].operand;
        chosen.operands[static_cast<std::size_t>(own.operand)].last = i;
        break;
      }
    if (own.operand >= 0) continue;
    own = {static_cast<std::int32_t>(chosen.operands.size()), true};
    chosen.operands.push_back({i, i, steps[i].ints[0] * (steps[i].ints[2] + static_cast<Dim>(sizeof(float)))});
  }
  return chosen;
}

}  // namespace signstep::engine
