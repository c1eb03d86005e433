// Where activations lie: no two that live at once share a byte, and little is wasted.
#include <algorithm>
#include <random>
#include <utility>

#include "../core/program/operands.h"
#include "harness.h"
#include "small_program.h"

using namespace signstep::program;

namespace {

// Chains of elementwise steps over buffers of random sizes, each reading up to three earlier ones.
Program random_program(std::mt19937& random) {
  const test::SmallProgram small;
  Program program;
  program.header = small.program.header;
  program.buffers.assign(small.program.buffers.begin(), small.program.buffers.begin() + 3);
  const int steps = 2 + static_cast<int>(random() % 40);
  for (int i = 0; i < steps; ++i) {
    const Dim elements = random() % 3 == 0 ? static_cast<Dim>(1 + random() % 5000) : -static_cast<Dim>(1 + random() % 3000);
    program.buffers.push_back({random() % 3 == 0 ? ElementType::float32 : ElementType::value, Storage::activation, elements, 0, 0, 0});
    Step step{};
    step.op = Op::elementwise;
    std::fill(step.buffers, step.buffers + kBuffers, kNone);
    const int inputs = static_cast<int>(random() % 3);
    step.ints[0] = inputs == 0 ? 0 : inputs == 1 ? 40 : 80;
    step.ints[1] = 1;
    step.ints[2] = elements;
    step.buffers[0] = static_cast<std::int32_t>(program.buffers.size() - 1);
    for (int k = 0; k <= inputs; ++k) {
      const auto back = 1 + static_cast<std::int32_t>(random() % 6);
      const std::int32_t source = step.buffers[0] - back;
      step.buffers[1 + k] = source < 3 ? program.header.input : source;  // stride 0: one element of it
    }
    program.forward.push_back(step);
  }
  return program;
}

struct Span {
  std::uint64_t from, to;
  std::size_t first, last;
};

// By the definition: buffer by buffer, step by step.
std::vector<Span> spans(const Program& program, const std::vector<Step>& steps, const MemoryPlan& plan, std::int64_t batch, std::size_t width) {
  std::vector<Span> all;
  for (std::size_t i = 0; i < program.buffers.size(); ++i) {
    const Buffer& buffer = program.buffers[i];
    if (buffer.storage != Storage::activation) continue;
    const auto index = static_cast<std::int32_t>(i);
    const bool pinned = index == program.header.input || index == program.header.logits || index == program.header.image_gradient;
    std::size_t first = pinned ? 0 : steps.size(), last = pinned ? steps.size() : 0;
    for (std::size_t at = 0; at < steps.size(); ++at)
      for (const std::int32_t used : steps[at].buffers)
        if (used == index) first = std::min(first, at), last = std::max(last, at);
    if (first == steps.size()) continue;
    const std::uint64_t bytes = static_cast<std::uint64_t>(resolve(buffer.elements, batch)) * (buffer.type == ElementType::value ? width : 4);
    all.push_back({plan.offsets[i], plan.offsets[i] + bytes, first, last});
  }
  return all;
}

}  // namespace

TEST("no two buffers that live at the same time overlap, nor what a device wants beside them, in random programs") {
  std::mt19937 random(11);
  std::uint64_t planned = 0, naive = 0, floor = 0;
  for (int trial = 0; trial < 300; ++trial) {
    const Program program = random_program(random);
    const std::int64_t batch = 1 + static_cast<std::int64_t>(random() % 9);
    const std::size_t width = random() % 2 == 0 ? 2 : 4;
    std::vector<Scratch> scratch;
    for (auto left = random() % 4; left > 0; --left) {
      const std::size_t first = random() % program.forward.size(), last = first + random() % (program.forward.size() - first);
      scratch.push_back({first, last, -static_cast<Dim>(1 + random() % 9000)});
    }
    const MemoryPlan plan = plan_memory(program, program.forward, batch, width, scratch);
    auto all = spans(program, program.forward, plan, batch, width);
    for (std::size_t i = 0; i < scratch.size(); ++i) {
      const std::uint64_t from = plan.offsets[program.buffers.size() + i];
      all.push_back({from, from + static_cast<std::uint64_t>(resolve(scratch[i].bytes, batch)), scratch[i].first, scratch[i].last});
    }
    for (std::size_t a = 0; a < all.size(); ++a) {
      EXPECT(all[a].from % 256 == 0 && all[a].to <= plan.bytes);
      for (std::size_t b = 0; b < a; ++b) {
        const bool alive_together = all[a].first <= all[b].last && all[b].first <= all[a].last;
        EXPECT(!alive_together || all[a].to <= all[b].from || all[b].to <= all[a].from);
      }
      naive += (all[a].to - all[a].from + 255) / 256 * 256;
    }
    planned += plan.bytes;
    std::uint64_t busiest = 0;
    for (std::size_t step = 0; step < program.forward.size(); ++step) {
      std::uint64_t alive = 0;
      for (const Span& span : all)
        if (span.first <= step && step <= span.last) alive += (span.to - span.from + 255) / 256 * 256;
      busiest = std::max(busiest, alive);
    }
    floor += busiest;
  }
  std::printf("  memory planned: %.3f of one place each, %.3f of what must live at once\n", static_cast<double>(planned) / static_cast<double>(naive),
              static_cast<double>(planned) / static_cast<double>(floor));
  EXPECT(planned < naive);
  EXPECT(static_cast<double>(planned) < 1.1 * static_cast<double>(floor));
}

TEST("the pinned buffers lie at the same place in forward and gradient") {
  const test::SmallProgram small;
  const Program& program = small.program;
  const MemoryPlan forward = plan_memory(program, program.forward, 5, 2), gradient = plan_memory(program, program.gradient, 5, 2);
  for (const std::int32_t pinned : {program.header.input, program.header.logits, program.header.image_gradient})
    EXPECT(forward.offsets[static_cast<std::size_t>(pinned)] == gradient.offsets[static_cast<std::size_t>(pinned)]);
  EXPECT(gradient.bytes >= forward.bytes);
}

TEST("memory follows batch and precision") {
  const test::SmallProgram small;
  const Program& program = small.program;
  const auto bytes = [&](std::int64_t batch, std::size_t width) { return plan_memory(program, program.gradient, batch, width).bytes; };
  EXPECT(bytes(64, 2) < bytes(64, 4) && bytes(64, 2) < bytes(128, 2));
}

TEST("sizes that fit at batch 1 and 2 only are refused at the batch that is loaded") {
  test::SmallProgram small;
  Program& program = small.program;
  // Rows B with a stride of B: quadratic, while the buffer grows with B.
  Step& step = program.forward[2];
  step.ints[2] = -1, step.ints[3] = 1, step.ints[8] = -10, step.ints[9] = 1;
  bool refused = false;
  (void)plan_memory(program, program.forward, 2, 2);
  try {
    (void)plan_memory(program, program.forward, 4, 2);
  } catch (const PlanError&) {
    refused = true;
  }
  EXPECT(refused);
}
