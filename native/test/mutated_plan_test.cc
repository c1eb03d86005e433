// Plans with something changed and the checksum made good, so that all that stands behind it is reached: whatever it is, a plan is refused in
// words, or runs; nothing is read or written beyond its place (this test runs under AddressSanitizer too), and all memory comes back.
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "../core/program/plan_layout.h"
#include "harness.h"
#include "plan_writer.h"
#include "signstep/engine.h"
#include "small_program.h"

namespace {

using namespace signstep::program;

constexpr int kCases = 200;

using Bytes = std::vector<std::uint8_t>;
using Random = std::mt19937;

std::size_t below(Random& random, std::size_t bound) { return std::uniform_int_distribution<std::size_t>(0, bound - 1)(random); }

// The numbers that programs stumble over.
std::int64_t edge(Random& random) {
  constexpr std::int64_t kEdges[] = {0, 1, -1, 2, -2, 3, 7, 255, 4096, -4096, INT32_MAX, INT32_MIN, std::int64_t{1} << 32, std::int64_t{1} << 48,
                                     -(std::int64_t{1} << 48), INT64_MAX, INT64_MIN};
  return kEdges[below(random, sizeof kEdges / sizeof kEdges[0])];
}

// Of `tables`, which lie before the constants: what steers the program.
void change(Bytes& plan, std::size_t tables, Random& random) {
  const std::size_t at = kSizeAt + below(random, tables - kSizeAt - 8);
  const std::int64_t value = edge(random);
  switch (below(random, 5)) {
    case 0: plan[at] = static_cast<std::uint8_t>(plan[at] ^ (1u << below(random, 8))); break;
    case 1: std::memcpy(&plan[at / 4 * 4], &value, 4); break;
    case 2: std::memcpy(&plan[at / 8 * 8], &value, 8); break;
    case 3: std::memmove(&plan[at / 8 * 8], &plan[(kSizeAt + below(random, tables - kSizeAt - 8)) / 8 * 8], 8); break;
    default: plan.resize(plan.size() - below(random, 64)); break;
  }
}

// The engine's word on the plan; runs what it takes.
signstep_status use(const signstep_engine& sim, const Bytes& plan) {
  const signstep_load load{0, 2, SIGNSTEP_BF16, plan.data(), plan.size()};
  signstep_program* program = nullptr;
  signstep_status status = sim.program_load(&load, &program);
  if (status != SIGNSTEP_OK) return status;
  signstep_program_info info{};
  sim.program_info(program, &info);
  const std::size_t pixels = std::size_t{info.channels} * info.height * info.width;
  const std::vector<float> image(2 * pixels, 0.5f), eps(2, 0.1f);
  const std::vector<std::int32_t> zeros(2, 0);
  std::vector<float> logits(std::size_t{2} * info.classes, 1.0f), out(2 * pixels);
  signstep_images batch{};
  batch.count = 2;
  batch.images = image.data();
  batch.labels = zeros.data();
  batch.targets = info.targeted != 0 ? zeros.data() : nullptr;
  batch.reference_logits = logits.data();
  batch.sample_indices = zeros.data();
  signstep_attack* attack = nullptr;
  status = sim.attack_begin(program, &batch, &attack);
  if (status != SIGNSTEP_OK) {
    batch.reference_logits = nullptr;
    status = sim.attack_begin(program, &batch, &attack);
  }
  if (status == SIGNSTEP_OK) {
    const signstep_start_rule clean{};
    const signstep_step_rule rule{SIGNSTEP_RULE_LINF, 1, 1, 0, 0, eps.data(), eps.data()};
    status = sim.attack_start(attack, &clean);
    if (status == SIGNSTEP_OK) status = sim.attack_steps(attack, &rule, 2, nullptr, nullptr);
    if (status == SIGNSTEP_OK) status = sim.attack_score(attack, nullptr, nullptr, logits.data());
    if (status == SIGNSTEP_OK) status = sim.attack_images(attack, nullptr, 2, out.data());
    sim.attack_free(attack);
  }
  sim.program_free(program);
  return status;
}

}  // namespace

TEST("a changed plan is refused in words or runs, and nothing leaks") {
  const signstep_engine& sim = *signstep_get_api(SIGNSTEP_ABI_VERSION)->engine("sim");
  const test::SmallProgram small;
  const Bytes good = test::write_plan(small.program);
  const std::size_t tables = good.size() - small.program.data_bytes;
  EXPECT(use(sim, good) == SIGNSTEP_OK);
  setenv("SIGNSTEP_SIM_MEMORY", "16000000", 1);
  int refused = 0;
  for (std::uint32_t seed = 0; seed < kCases; ++seed) {
    Random random(seed);
    Bytes plan = good;
    for (std::size_t changes = 1 + below(random, 2); changes > 0; --changes) change(plan, tables, random);
    test::seal_plan(plan);
    const signstep_status status = use(sim, plan);
    if (status != SIGNSTEP_OK) ++refused;
    EXPECT(status == SIGNSTEP_OK || sim.last_error()[0] != '\0');
    // Only memory, of which a plan may want more than there is, and a launch that no device takes are not the plan's own fault.
    const std::string why = sim.last_error();
    EXPECT(status != SIGNSTEP_INTERNAL || why.find("memory") != std::string::npos || why.find("step ") != std::string::npos);
    EXPECT(sim.allocated_bytes() == 0);
  }
  unsetenv("SIGNSTEP_SIM_MEMORY");
  EXPECT(refused > kCases / 2 && refused < kCases);
}
