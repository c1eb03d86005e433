// Faults of a device through the C table: a kernel that fails for good, memory that runs out, a GPU that is too old, weights that the precision
// cannot hold. Each ends in words, with all memory back, and leaves the other devices as they were. A lost device stays lost, so every test
// that loses one has its own.
#include <cstdlib>
#include <string>
#include <vector>

#include "harness.h"
#include "plan_writer.h"
#include "signstep/engine.h"
#include "small_program.h"

namespace {

constexpr std::uint32_t kCount = 3;
constexpr std::size_t kPixels = 2 * 4 * 4;

const signstep_engine* sim() {
  static const signstep_engine* const engine = signstep_get_api(SIGNSTEP_ABI_VERSION)->engine("sim");
  return engine;
}

std::vector<std::uint8_t> plan_with(float first_weight) {
  test::SmallProgram small;
  small.data[0] = first_weight;
  return test::write_plan(small.program);
}
const std::vector<std::uint8_t>& plan() {
  static const auto bytes = plan_with(0.25f);
  return bytes;
}

// An environment variable as long as the scope lasts.
class Setting {
 public:
  Setting(const char* name, const std::string& value) : name_(name) { setenv(name, value.c_str(), 1); }
  ~Setting() { unsetenv(name_); }
  Setting(const Setting&) = delete;

 private:
  const char* name_;
};

bool says(const char* part) { return std::string(sim()->last_error()).find(part) != std::string::npos; }

struct Batch {
  std::vector<float> pixels = std::vector<float>(kCount * kPixels, 0.5f), eps = std::vector<float>(kCount, 0.1f);
  std::vector<std::int32_t> labels{0, 1, 2}, indices{7, 8, 9};
  signstep_images images() const {
    signstep_images all{};
    all.count = kCount;
    all.images = pixels.data();
    all.labels = labels.data();
    all.sample_indices = indices.data();
    return all;
  }
  signstep_step_rule rule(std::uint32_t kind = SIGNSTEP_RULE_LINF) const { return {kind, 1, 1, 0, 0, eps.data(), eps.data()}; }
};

// A program, and an attack on it where `begin` was called.
struct Loaded {
  signstep_program* program = nullptr;
  std::vector<signstep_attack*> attacks = {};
  signstep_status status;

  explicit Loaded(std::int32_t device, std::uint32_t batch = 4) {
    const signstep_load load{device, batch, SIGNSTEP_BF16, plan().data(), plan().size()};
    status = sim()->program_load(&load, &program);
  }
  ~Loaded() {
    for (signstep_attack* attack : attacks) sim()->attack_free(attack);
    sim()->program_free(program);
  }
  Loaded(const Loaded&) = delete;

  signstep_status begin(const Batch& batch) {
    const signstep_images images = batch.images();
    signstep_attack* attack = nullptr;
    const signstep_status begun = sim()->attack_begin(program, &images, &attack);
    if (begun != SIGNSTEP_OK) return begun;
    attacks.push_back(attack);
    const signstep_start_rule clean{};
    return sim()->attack_start(attack, &clean);
  }
  signstep_status step(const Batch& batch, std::uint32_t kind = SIGNSTEP_RULE_LINF, const volatile std::int32_t* cancel = nullptr) {
    const signstep_step_rule rule = batch.rule(kind);
    return sim()->attack_steps(attacks.back(), &rule, 2, nullptr, cancel);
  }
};

bool works(std::int32_t device) {
  const Batch batch;
  Loaded other(device);
  return other.status == SIGNSTEP_OK && other.begin(batch) == SIGNSTEP_OK && other.step(batch) == SIGNSTEP_OK;
}

}  // namespace

TEST("a kernel that fails for good names itself, its step and shapes; its device is refused from then on, another is not") {
  const Setting devices("SIGNSTEP_SIM_DEVICES", "2"), blocking("CUDA_LAUNCH_BLOCKING", "1");
  {
    const Batch batch;
    Loaded loaded(1);
    EXPECT(loaded.begin(batch) == SIGNSTEP_OK);
    {
      // The second of the attack's second step.
      const Setting fail("SIGNSTEP_SIM_FAIL", "layer_norm_backward:2");
      EXPECT(loaded.step(batch) == SIGNSTEP_INTERNAL);
    }
    EXPECT(says("step 7 (layer_norm_backward, norm: rows 16, columns 6): layer_norm_backward: uncorrectable memory error"));
    EXPECT(!says("or before"));
    EXPECT(loaded.step(batch) == SIGNSTEP_UNSUPPORTED);
    EXPECT(says("device 1 is lost to this process") && says("step 7 (layer_norm_backward"));
    std::vector<float> logits(kCount * 3);
    EXPECT(sim()->forward(loaded.program, kCount, batch.pixels.data(), logits.data()) == SIGNSTEP_UNSUPPORTED);
    EXPECT(loaded.begin(batch) == SIGNSTEP_UNSUPPORTED);
    signstep_device_info info;
    EXPECT(sim()->device_info(1, &info) == SIGNSTEP_UNSUPPORTED && sim()->device_info(0, &info) == SIGNSTEP_OK);
    EXPECT(Loaded(1).status == SIGNSTEP_UNSUPPORTED && says("uncorrectable memory error"));
    EXPECT(sim()->allocated_bytes() > 0);
  }
  EXPECT(sim()->allocated_bytes() == 0);
  EXPECT(works(0));
}

TEST("a kernel that fails in a recorded graph is told with the way to learn which step it was") {
  const Setting devices("SIGNSTEP_SIM_DEVICES", "3");
  {
    const Batch batch;
    Loaded loaded(2);
    EXPECT(loaded.begin(batch) == SIGNSTEP_OK && loaded.step(batch) == SIGNSTEP_OK);
    const Setting fail("SIGNSTEP_SIM_FAIL", "loss_head:1");
    EXPECT(loaded.step(batch) == SIGNSTEP_INTERNAL);
    EXPECT(says("loss_head: uncorrectable memory error") && says("CUDA_LAUNCH_BLOCKING=1"));
  }
  EXPECT(sim()->allocated_bytes() == 0);
}

TEST("where failures may come late, the step is told as the latest that can be at fault") {
  const Setting devices("SIGNSTEP_SIM_DEVICES", "4");
  {
    const Batch batch;
    const volatile std::int32_t down = 0;
    Loaded loaded(3);
    EXPECT(loaded.begin(batch) == SIGNSTEP_OK);
    const Setting fail("SIGNSTEP_SIM_FAIL", "loss_head:1");
    EXPECT(loaded.step(batch, SIGNSTEP_RULE_LINF, &down) == SIGNSTEP_INTERNAL);
    EXPECT(says("at or before step 4 (loss, loss: classes 3): loss_head: "));
  }
  EXPECT(sim()->allocated_bytes() == 0);
}

TEST("a device that fails while a program is loaded leaves nothing behind") {
  const Setting devices("SIGNSTEP_SIM_DEVICES", "5"), fail("SIGNSTEP_SIM_FAIL", "copy:2");
  EXPECT(Loaded(4).status == SIGNSTEP_INTERNAL && says("copy: uncorrectable memory error"));
  EXPECT(sim()->allocated_bytes() == 0);
}

TEST("a GPU that is too old is refused with what it is and what is needed") {
  const Setting capability("SIGNSTEP_SIM_CAPABILITY", "75");
  EXPECT(Loaded(0).status == SIGNSTEP_UNSUPPORTED && says("expected compute capability 8.0 or later, found 7.5"));
  EXPECT(sim()->allocated_bytes() == 0);
}

TEST("memory that runs out at load, at any allocation, leaves nothing behind; a free choice of the batch takes what fits") {
  std::uint64_t whole = 0;
  {
    const Loaded loaded(0);
    whole = sim()->allocated_bytes();
  }
  for (std::uint64_t room = 0; room < whole; room += 1 + whole / 60) {
    const Setting memory("SIGNSTEP_SIM_MEMORY", std::to_string(room));
    EXPECT(Loaded(0).status == SIGNSTEP_INTERNAL && says("out of memory"));
    EXPECT(sim()->allocated_bytes() == 0);
  }
  const Setting memory("SIGNSTEP_SIM_MEMORY", std::to_string(3 * whole));
  const Batch batch;
  Loaded fitted(0, 0);
  signstep_program_info info{};
  EXPECT(fitted.status == SIGNSTEP_OK && sim()->program_info(fitted.program, &info) == SIGNSTEP_OK);
  EXPECT(info.batch >= 4 && info.batch < 256);
  EXPECT(fitted.begin(batch) == SIGNSTEP_OK && fitted.step(batch) == SIGNSTEP_OK);
}

TEST("memory that runs out in the middle of an attack ends the call alone: the attack goes on when there is room") {
  {
    const Batch batch;
    Loaded loaded(0);
    EXPECT(loaded.begin(batch) == SIGNSTEP_OK);
    const std::uint64_t before = sim()->allocated_bytes();
    {
      const Setting memory("SIGNSTEP_SIM_MEMORY", std::to_string(before));
      EXPECT(loaded.step(batch, SIGNSTEP_RULE_MOMENTUM) == SIGNSTEP_INTERNAL && says("out of memory"));
      EXPECT(loaded.step(batch) == SIGNSTEP_OK);
      // Some attacks have had their memory from the start.
      signstep_status begun = SIGNSTEP_OK;
      while (begun == SIGNSTEP_OK) begun = loaded.begin(batch);
      EXPECT(begun == SIGNSTEP_INTERNAL && says("out of memory"));
      EXPECT(sim()->allocated_bytes() == before);
    }
    EXPECT(loaded.step(batch, SIGNSTEP_RULE_MOMENTUM) == SIGNSTEP_OK && loaded.begin(batch) == SIGNSTEP_OK);
  }
  EXPECT(sim()->allocated_bytes() == 0);
}

TEST("weights that are no numbers, or too large for the precision, are refused with their step") {
  const auto load = [](float weight, std::uint32_t precision) {
    const std::vector<std::uint8_t> own = plan_with(weight);
    const signstep_load request{0, 1, precision, own.data(), own.size()};
    signstep_program* program = nullptr;
    const signstep_status status = sim()->program_load(&request, &program);
    sim()->program_free(program);
    return status;
  };
  EXPECT(load(65519, SIGNSTEP_FP16) == SIGNSTEP_OK && load(-65520, SIGNSTEP_BF16) == SIGNSTEP_OK);
  EXPECT(load(-65520, SIGNSTEP_FP16) == SIGNSTEP_INVALID && says("weights of step 0 (embed)") && says("fp16 holds"));
  EXPECT(load(3.4e38f, SIGNSTEP_FLOAT32) == SIGNSTEP_OK);
  EXPECT(load(3.4e38f, SIGNSTEP_BF16) == SIGNSTEP_INVALID && says("bf16 holds"));
  for (const std::uint32_t precision : {SIGNSTEP_BF16, SIGNSTEP_FP16, SIGNSTEP_FLOAT32})
    EXPECT(load(__builtin_nanf(""), precision) == SIGNSTEP_INVALID && says("NaN at element 0"));
  EXPECT(sim()->allocated_bytes() == 0);
}
