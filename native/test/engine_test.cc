// The engine through its C table, on the simulator and a program small enough to do by hand.
#include <cmath>
#include <cstring>
#include <limits>
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

const std::vector<std::uint8_t>& plan() {
  static const test::SmallProgram small;
  static const auto bytes = test::write_plan(small.program);
  return bytes;
}

struct Batch {
  std::vector<float> pixels = std::vector<float>(kCount * kPixels);
  std::vector<std::int32_t> labels{0, 1, 2}, indices{7, 8, 9};
  std::vector<float> eps = std::vector<float>(kCount, 0.1f), alpha = std::vector<float>(kCount, 0.02f);

  Batch() {
    for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<float>(i * 29 % 64) / 64;
  }
  signstep_images images() const { return {kCount, pixels.data(), labels.data(), nullptr, indices.data(), 5}; }
  signstep_step_rule rule(std::uint32_t kind = SIGNSTEP_RULE_LINF) const { return {kind, 1, 1, 0, 0, alpha.data(), eps.data()}; }
};

signstep_load request(std::uint32_t precision = SIGNSTEP_FLOAT32, std::uint32_t batch = 4) { return {0, batch, precision, plan().data(), plan().size()}; }

// A loaded program that is freed at the end.
struct Loaded {
  signstep_program* program = nullptr;
  explicit Loaded(const signstep_load& load = request()) { EXPECT(sim()->program_load(&load, &program) == SIGNSTEP_OK); }
  ~Loaded() { sim()->program_free(program); }
};
struct Begun {
  signstep_attack* attack = nullptr;
  Begun(const Loaded& loaded, const Batch& batch) {
    const signstep_images images = batch.images();
    EXPECT(sim()->attack_begin(loaded.program, &images, &attack) == SIGNSTEP_OK);
  }
  ~Begun() { sim()->attack_free(attack); }
};

std::vector<float> pixels_of(signstep_attack* attack, std::uint32_t count = kCount) {
  std::vector<float> out(count * kPixels);
  EXPECT(sim()->attack_images(attack, nullptr, count, out.data()) == SIGNSTEP_OK);
  return out;
}

bool says(const char* part) { return std::string(sim()->last_error()).find(part) != std::string::npos; }

std::vector<float> attacked(const Batch& batch, std::uint32_t kind, std::uint32_t steps, bool one_by_one, std::uint32_t precision = SIGNSTEP_FLOAT32,
                            const volatile std::int32_t* cancel = nullptr) {
  const Loaded loaded(request(precision));
  const Begun begun(loaded, batch);
  const signstep_start_rule start{SIGNSTEP_START_UNIFORM, 0, 1, batch.eps.data()};
  EXPECT(sim()->attack_start(begun.attack, &start) == SIGNSTEP_OK);
  const signstep_step_rule rule = batch.rule(kind);
  for (std::uint32_t i = 0; i < (one_by_one ? steps : 1u); ++i)
    EXPECT(sim()->attack_steps(begun.attack, &rule, one_by_one ? 1 : steps, nullptr, cancel) == SIGNSTEP_OK);
  return pixels_of(begun.attack);
}

}  // namespace

TEST("the simulator is there, with one device and nothing allocated") {
  EXPECT(sim() != nullptr);
  EXPECT(sim()->device_count() >= 1);
  signstep_device_info info;
  EXPECT(sim()->device_info(0, &info) == SIGNSTEP_OK);
  EXPECT(info.name[0] != '\0');
  EXPECT(sim()->allocated_bytes() == 0);
}

TEST("a loaded program tells its shapes, and all of its memory comes back") {
  {
    const Loaded loaded;
    signstep_program_info info;
    EXPECT(sim()->program_info(loaded.program, &info) == SIGNSTEP_OK);
    EXPECT(info.channels == 2 && info.height == 4 && info.width == 4 && info.classes == 3 && info.batch == 4);
    EXPECT(info.device_bytes > 0 && sim()->allocated_bytes() >= info.device_bytes);
    const Batch batch;
    const Begun one(loaded, batch), other(loaded, batch);
  }
  EXPECT(sim()->allocated_bytes() == 0);
}

TEST("the gradient is that of the loss: central differences agree") {
  const Loaded loaded;
  Batch batch;
  std::vector<float> gradient(kCount * kPixels);
  const signstep_start_rule clean{};
  {
    const Begun begun(loaded, batch);
    EXPECT(sim()->attack_start(begun.attack, &clean) == SIGNSTEP_OK);
    EXPECT(sim()->attack_gradient(begun.attack, gradient.data()) == SIGNSTEP_OK);
  }
  const auto loss_at = [&](std::size_t pixel, float shift) {
    Batch moved = batch;
    moved.pixels[pixel] += shift;
    const Begun begun(loaded, moved);
    EXPECT(sim()->attack_start(begun.attack, &clean) == SIGNSTEP_OK);
    std::vector<float> loss(kCount);
    EXPECT(sim()->attack_score(begun.attack, loss.data(), nullptr, nullptr) == SIGNSTEP_OK);
    return loss[pixel / kPixels];
  };
  for (const std::size_t pixel : {std::size_t{3}, kPixels + 17, 2 * kPixels + 30}) {
    constexpr float kShift = 1.0f / 128;
    const float slope = (loss_at(pixel, kShift) - loss_at(pixel, -kShift)) / (2 * kShift);
    EXPECT(std::fabs(slope - gradient[pixel]) <= 2e-3f * std::fmax(1.0f, std::fabs(slope)));
  }
}

TEST("several steps at once, one at a time, and under a cancel flag that stays down are the same steps") {
  const Batch batch;
  const volatile std::int32_t down = 0;
  for (const std::uint32_t kind : {SIGNSTEP_RULE_LINF, SIGNSTEP_RULE_L2, SIGNSTEP_RULE_MOMENTUM}) {
    const std::vector<float> together = attacked(batch, kind, 3, false);
    EXPECT(test::same_bits(together, attacked(batch, kind, 3, true)));
    EXPECT(test::same_bits(together, attacked(batch, kind, 3, false, SIGNSTEP_FLOAT32, &down)));
    EXPECT(!test::same_bits(together, batch.pixels));
  }
}

TEST("every precision keeps to the ball, and repeats itself to the bit") {
  const Batch batch;
  for (const std::uint32_t precision : {SIGNSTEP_BF16, SIGNSTEP_FP16, SIGNSTEP_FLOAT32}) {
    const std::vector<float> once = attacked(batch, SIGNSTEP_RULE_LINF, 8, false, precision);
    EXPECT(test::same_bits(once, attacked(batch, SIGNSTEP_RULE_LINF, 8, false, precision)));
    float farthest = 0;
    for (std::size_t i = 0; i < once.size(); ++i) farthest = std::fmax(farthest, std::fabs(once[i] - batch.pixels[i]));
    EXPECT(farthest > 0.09f && farthest <= 0.1f + 1e-6f);
  }
}

TEST("a recorded graph is replayed for another batch, radius and seed") {
  const Loaded loaded;
  const Batch batch;
  Batch other = batch;
  for (float& pixel : other.pixels) pixel = 1 - pixel;
  other.eps.assign(kCount, 0.03f);
  const auto run = [&](const Loaded& on, const Batch& own) {
    const Begun begun(on, own);
    const signstep_start_rule start{SIGNSTEP_START_UNIFORM, 0, 1, own.eps.data()};
    EXPECT(sim()->attack_start(begun.attack, &start) == SIGNSTEP_OK);
    const signstep_step_rule rule = own.rule();
    EXPECT(sim()->attack_steps(begun.attack, &rule, 2, nullptr, nullptr) == SIGNSTEP_OK);
    return pixels_of(begun.attack);
  };
  run(loaded, batch);
  const Loaded fresh;
  EXPECT(test::same_bits(run(loaded, other), run(fresh, other)));
}

TEST("two attacks on one program do not disturb each other") {
  const Batch batch;
  Batch other = batch;
  for (float& pixel : other.pixels) pixel = 1 - pixel;
  const auto run = [](const Loaded& loaded, const Batch& a, const Batch& b) {
    const Begun first(loaded, a), second(loaded, b);
    const signstep_start_rule clean{};
    EXPECT(sim()->attack_start(first.attack, &clean) == SIGNSTEP_OK);
    EXPECT(sim()->attack_start(second.attack, &clean) == SIGNSTEP_OK);
    const signstep_step_rule rule_a = a.rule(), rule_b = b.rule();
    for (int i = 0; i < 2; ++i) {
      EXPECT(sim()->attack_steps(first.attack, &rule_a, 1, nullptr, nullptr) == SIGNSTEP_OK);
      EXPECT(sim()->attack_steps(second.attack, &rule_b, 1, nullptr, nullptr) == SIGNSTEP_OK);
    }
    return pixels_of(first.attack);
  };
  const Loaded loaded;
  EXPECT(test::same_bits(run(loaded, batch, other), run(loaded, batch, batch)));
}

TEST("kept rows go on as if the others had never been there") {
  const Batch batch;
  const Loaded loaded;
  const signstep_start_rule clean{};
  const Begun all(loaded, batch), some(loaded, batch);
  const signstep_step_rule momentum = batch.rule(SIGNSTEP_RULE_MOMENTUM);
  for (signstep_attack* attack : {all.attack, some.attack}) {
    EXPECT(sim()->attack_start(attack, &clean) == SIGNSTEP_OK);
    EXPECT(sim()->attack_steps(attack, &momentum, 1, nullptr, nullptr) == SIGNSTEP_OK);
  }
  const std::int32_t rows[] = {0, 2};
  EXPECT(sim()->attack_keep(some.attack, rows, 2) == SIGNSTEP_OK);
  const std::vector<float> eps{0.1f, 0.1f}, alpha{0.02f, 0.02f};
  signstep_step_rule fewer = momentum;
  fewer.eps = eps.data();
  fewer.alpha = alpha.data();
  EXPECT(sim()->attack_steps(all.attack, &momentum, 2, nullptr, nullptr) == SIGNSTEP_OK);
  EXPECT(sim()->attack_steps(some.attack, &fewer, 2, nullptr, nullptr) == SIGNSTEP_OK);
  const std::vector<float> whole = pixels_of(all.attack), kept = pixels_of(some.attack, 2);
  EXPECT(std::memcmp(whole.data(), kept.data(), kPixels * 4) == 0);
  EXPECT(std::memcmp(whole.data() + 2 * kPixels, kept.data() + kPixels, kPixels * 4) == 0);
}

TEST("a raised cancel flag ends the call, and the attack goes on afterwards") {
  const Loaded loaded;
  const Batch batch;
  const Begun begun(loaded, batch);
  const signstep_start_rule clean{};
  EXPECT(sim()->attack_start(begun.attack, &clean) == SIGNSTEP_OK);
  const volatile std::int32_t up = 1;
  const signstep_step_rule rule = batch.rule();
  EXPECT(sim()->attack_steps(begun.attack, &rule, 5, nullptr, &up) == SIGNSTEP_CANCELLED);
  EXPECT(test::same_bits(pixels_of(begun.attack), batch.pixels));
  EXPECT(sim()->attack_steps(begun.attack, &rule, 1, nullptr, nullptr) == SIGNSTEP_OK);
}

TEST("results of steps are those of the iterate before each step") {
  const Loaded loaded;
  const Batch batch;
  const Begun begun(loaded, batch);
  const signstep_start_rule clean{};
  EXPECT(sim()->attack_start(begun.attack, &clean) == SIGNSTEP_OK);
  std::vector<float> score(kCount), loss(2 * kCount);
  std::vector<std::int32_t> predictions(2 * kCount), nan(2 * kCount);
  std::vector<std::uint8_t> zero(2 * kCount);
  EXPECT(sim()->attack_score(begun.attack, score.data(), nullptr, nullptr) == SIGNSTEP_OK);
  signstep_step_results results{loss.data(), predictions.data(), nan.data(), zero.data()};
  const signstep_step_rule rule = batch.rule();
  EXPECT(sim()->attack_steps(begun.attack, &rule, 2, &results, nullptr) == SIGNSTEP_OK);
  for (std::size_t i = 0; i < kCount; ++i) {
    EXPECT(std::fabs(loss[i] - score[i]) < 1e-5f);
    EXPECT(loss[kCount + i] > loss[i]);
    EXPECT(nan[i] == 0 && zero[i] == 0);
  }
}

TEST("what cannot be is refused in words, and nothing leaks") {
  {
    const Loaded loaded;
    const Batch good;
    signstep_attack* attack = nullptr;
    const auto refused = [&](const Batch& batch, std::uint32_t count, const char* part) {
      signstep_images images = batch.images();
      images.count = count;
      EXPECT(sim()->attack_begin(loaded.program, &images, &attack) == SIGNSTEP_INVALID);
      EXPECT(attack == nullptr && says(part));
    };
    refused(good, 0, "count");
    refused(good, 5, "expected 1 to 4");
    Batch label = good;
    label.labels[1] = 3;
    refused(label, kCount, "labels: expected 0 to 2, found 3 for image 1");
    Batch pixel = good;
    pixel.pixels[kPixels + 2] = std::numeric_limits<float>::quiet_NaN();
    refused(pixel, kCount, "image 1");

    const Begun begun(loaded, good);
    Batch radius = good;
    radius.eps[2] = -1;
    signstep_step_rule rule = radius.rule();
    EXPECT(sim()->attack_steps(begun.attack, &rule, 1, nullptr, nullptr) == SIGNSTEP_INVALID && says("eps"));
    rule = good.rule();
    rule.direction = 0;
    EXPECT(sim()->attack_steps(begun.attack, &rule, 1, nullptr, nullptr) == SIGNSTEP_INVALID && says("direction"));
    const std::int32_t descending[] = {2, 1};
    EXPECT(sim()->attack_keep(begun.attack, descending, 2) == SIGNSTEP_INVALID && says("ascending"));
    EXPECT(sim()->attack_best(begun.attack, nullptr, nullptr) == SIGNSTEP_INVALID && says("remember"));
  }
  EXPECT(sim()->allocated_bytes() == 0);
}

TEST("a plan that is cut, of another version or for a device that is not there is refused, and nothing leaks") {
  signstep_program* program = nullptr;
  signstep_load load = request();
  load.plan_bytes -= 1;
  EXPECT(sim()->program_load(&load, &program) == SIGNSTEP_INVALID && program == nullptr && sim()->last_error()[0] != '\0');
  std::vector<std::uint8_t> other = plan();
  other[8] ^= 0xFF;
  load = request();
  load.plan = other.data();
  EXPECT(sim()->program_load(&load, &program) == SIGNSTEP_INVALID && says("version"));
  load = request();
  load.device = 99;
  EXPECT(sim()->program_load(&load, &program) == SIGNSTEP_UNSUPPORTED && says("99"));
  load = request();
  load.precision = 9;
  EXPECT(sim()->program_load(&load, &program) == SIGNSTEP_INVALID && says("precision"));
  EXPECT(sim()->allocated_bytes() == 0);
}
