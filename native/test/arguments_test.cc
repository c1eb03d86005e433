#include <limits>
#include <string>

#include "batch.h"
#include "harness.h"

using test::api;
using test::Batch;

namespace {

bool refused(signstep_status status, const char* word) {
  return status == SIGNSTEP_INVALID && std::string(api().last_error()).find(word) != std::string::npos;
}

}  // namespace

TEST("an unknown version of the interface is refused") {
  EXPECT(signstep_get_api(SIGNSTEP_ABI_VERSION + 1) == nullptr);
  EXPECT(api().struct_size == sizeof(signstep_api));
  EXPECT(api().abi_version == SIGNSTEP_ABI_VERSION);
}

TEST("bad arguments are refused by name before anything is written") {
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();
  Batch b(2, 100, 1);
  const auto before = b.x.copy();
  auto step = b.step();
  step.direction = 0;
  EXPECT(refused(api().step_linf(&step), "direction"));
  step = b.step();
  step.x0 = nullptr;
  EXPECT(refused(api().step_linf(&step), "x0"));
  step = b.step();
  step.momentum = nullptr;
  EXPECT(refused(api().step_momentum(&step), "momentum"));
  EXPECT(api().step_l2(&step) == SIGNSTEP_OK);
  b.x.assign(before);
  step = b.step();
  step.decay = kNaN;
  EXPECT(refused(api().step_momentum(&step), "decay"));
  step = b.step();
  step.count = std::numeric_limits<std::size_t>::max() / 2;
  EXPECT(refused(api().step_linf(&step), "count"));
  step = b.step();
  for (const float alpha : {-1.0f, kNaN, kInfinity}) {
    b.alpha[1] = alpha;
    EXPECT(refused(api().step_l2(&step), "alpha[1]"));
  }
  b.alpha[1] = 0.1f;
  b.eps[1] = kNaN;
  EXPECT(refused(api().step_l2(&step), "eps[1]"));
  auto start = b.start();
  EXPECT(refused(api().start_l2(&start), "eps[1]"));
  b.eps[1] = 0.1f;
  b.indices[0] = -1;
  EXPECT(refused(api().start_uniform(&start), "sample_indices[0]"));
  b.indices[0] = 1;
  start.scale = kInfinity;
  EXPECT(refused(api().start_uniform(&start), "scale"));
  start = b.start();
  start.restart = 1u << 24;
  EXPECT(refused(api().start_uniform(&start), "restart"));
  EXPECT(refused(api().set_threads(0), "threads"));
  EXPECT(api().set_instruction_set("mmx") == SIGNSTEP_UNSUPPORTED);
  EXPECT(test::same_bits(b.x.copy(), before));
}

TEST("an empty batch is nothing to do") {
  signstep_step step = {};
  step.direction = 1;
  EXPECT(api().step_linf(&step) == SIGNSTEP_OK);
  EXPECT(api().step_l2(&step) == SIGNSTEP_OK);
  EXPECT(api().step_momentum(&step) == SIGNSTEP_OK);
  const signstep_start start = {};
  EXPECT(api().start_uniform(&start) == SIGNSTEP_OK);
  EXPECT(api().start_l2(&start) == SIGNSTEP_OK);
}

TEST("a set cancel flag ends the work") {
  Batch b(2, 40000, 2);
  const std::int32_t cancel = 1;
  auto step = b.step();
  step.cancel = &cancel;
  const auto before = b.x.copy();
  for (const auto operation : {api().step_linf, api().step_l2, api().step_momentum}) EXPECT(operation(&step) == SIGNSTEP_CANCELLED);
  auto start = b.start();
  start.cancel = &cancel;
  EXPECT(api().start_uniform(&start) == SIGNSTEP_CANCELLED);
  EXPECT(api().start_l2(&start) == SIGNSTEP_CANCELLED);
  EXPECT(test::same_bits(b.x.copy(), before));
}
