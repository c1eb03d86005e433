// Where the activations of a program lie. First fit: buffers in the order of their sizes, the largest first, each at the lowest place
// that is free throughout its life. (In the order of their birth a large gradient finds its gaps taken by small buffers.) The pinned ones
// come before all others, so that they have the same place in the forward and in the gradient of one program.
#include <algorithm>
#include <limits>
#include <numeric>

#include "check_step.h"
#include "extent.h"
#include "operands.h"
#include "program.h"

namespace signstep::program {
namespace {

constexpr std::uint64_t kAlignment = 256;

constexpr std::size_t kForever = std::numeric_limits<std::size_t>::max();

struct Life {
  std::size_t first = kForever;  // steps, both included; first > last: not used
  std::size_t last = 0;
  bool used() const { return first <= last; }
  bool meets(const Life& other) const { return first <= other.last && other.first <= last; }
};

std::vector<Life> lives(const Program& program, const std::vector<Step>& steps) {
  std::vector<Life> lives(program.buffers.size());
  for (std::size_t i = 0; i < steps.size(); ++i)
    for (const StepOperand& operand : operands(steps[i])) {
      const std::int32_t index = steps[i].buffers[operand.slot];
      if (index == kNone) continue;
      Life& life = lives[static_cast<std::size_t>(index)];
      life.first = std::min(life.first, i);
      life.last = std::max(life.last, i);
    }
  const Header& header = program.header;
  for (const std::int32_t pinned : {header.input, header.logits, header.image_gradient})
    lives[static_cast<std::size_t>(pinned)] = {0, kForever};
  for (std::size_t i = 0; i < lives.size(); ++i)
    if (program.buffers[i].storage != Storage::activation) lives[i] = {};
  return lives;
}

struct Placed {
  std::uint64_t from, to;
  Life life;
};

}  // namespace

MemoryPlan plan_memory(const Program& program, const std::vector<Step>& steps, std::int64_t batch, std::size_t value_bytes,
                       const std::vector<Scratch>& scratch) {
  check_steps(program, steps, batch, &steps == &program.forward ? "forward" : "gradient");
  std::vector<Life> life = lives(program, steps);
  std::vector<std::uint64_t> sizes(life.size());
  const auto aligned = [&](Dim count, std::size_t width) {
    const auto bytes = static_cast<std::uint64_t>(extent(count, batch)) * width;
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
  };
  for (std::size_t i = 0; i < life.size(); ++i)
    if (life[i].used()) sizes[i] = aligned(program.buffers[i].elements, program.buffers[i].type == ElementType::value ? value_bytes : 4);
  for (const Scratch& own : scratch) {
    life.push_back({own.first, own.last});
    sizes.push_back(aligned(own.bytes, 1));
  }
  std::vector<std::size_t> order(life.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto pinned = [&](std::size_t i) { return life[i].used() && life[i].last == kForever; };
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return pinned(a) != pinned(b) ? pinned(a) : sizes[a] > sizes[b];
  });

  MemoryPlan plan;
  plan.offsets.assign(life.size(), 0);
  std::vector<Placed> placed;  // by `from`
  for (const std::size_t i : order) {
    if (sizes[i] == 0) break;
    std::uint64_t at = 0;
    for (const Placed& other : placed) {
      if (!other.life.meets(life[i])) continue;
      if (other.from >= at + sizes[i]) break;
      at = std::max(at, other.to);
    }
    plan.offsets[i] = at;
    plan.bytes = std::max(plan.bytes, at + sizes[i]);
    const auto after = std::upper_bound(placed.begin(), placed.end(), at, [](std::uint64_t from, const Placed& p) { return from < p.from; });
    placed.insert(after, {at, at + sizes[i], life[i]});
  }
  return plan;
}

}  // namespace signstep::program
