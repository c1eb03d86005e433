// The engine through its C table, on the simulator and a program small enough to do by hand.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
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
  signstep_images images() const { return {kCount, pixels.data(), labels.data(), nullptr, indices.data(), 5, nullptr}; }
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

namespace {

// What an attack with retiring samples found, by place in the batch as it was begun.
struct Story {
  std::vector<std::vector<float>> loss;               // of the steps a sample took part in
  std::vector<std::vector<std::int32_t>> predictions;  // likewise
  std::vector<bool> finished;
  std::vector<float> images;  // where it was finished, or where it is
  std::vector<float> best;    // of those that were not

  explicit Story(std::size_t count) : loss(count), predictions(count), finished(count, false), images(count * kPixels), best(count * kPixels, -1.0f) {}
  bool operator==(const Story& other) const {
    for (std::size_t i = 0; i < loss.size(); ++i)
      if (!test::same_bits(loss[i], other.loss[i])) return false;
    return predictions == other.predictions && finished == other.finished && test::same_bits(images, other.images) && test::same_bits(best, other.best);
  }
};

struct EarlyStop {
  Batch batch;
  std::uint32_t count = 4, steps = 6, kind = SIGNSTEP_RULE_LINF, remember = 0;
  std::uint64_t seed = 1;
  float radius = 0.1f;

  // Labels: what the model says of the clean image, but for `wrong` of them.
  EarlyStop(const Loaded& loaded, std::uint64_t number, std::uint32_t images, std::uint32_t wrong) : count(images), seed(number) {
    batch.pixels.resize(count * kPixels);
    for (std::size_t i = 0; i < batch.pixels.size(); ++i) batch.pixels[i] = static_cast<float>((i * 29 + number * 17 + i * i % 7) % 64) / 64;
    std::vector<float> logits(3 * count);
    EXPECT(sim()->forward(loaded.program, count, batch.pixels.data(), logits.data()) == SIGNSTEP_OK);
    batch.labels.resize(count);
    batch.indices.resize(count);
    for (std::uint32_t i = 0; i < count; ++i) {
      const auto best = std::max_element(logits.begin() + 3 * i, logits.begin() + 3 * i + 3) - (logits.begin() + 3 * i);
      batch.labels[i] = static_cast<std::int32_t>(i < wrong ? (best + 1) % 3 : best);
      batch.indices[i] = static_cast<std::int32_t>(5 * i + 1);
    }
  }
  void radii(float eps) { radius = eps; }
  signstep_attack* begin(const Loaded& loaded, std::uint32_t from, std::uint32_t images) const {
    const signstep_images under{images, batch.pixels.data() + from * kPixels, batch.labels.data() + from, nullptr, batch.indices.data() + from, seed, nullptr};
    signstep_attack* attack = nullptr;
    EXPECT(sim()->attack_begin(loaded.program, &under, &attack) == SIGNSTEP_OK);
    const std::vector<float> eps(images, radius);
    const signstep_start_rule start{SIGNSTEP_START_UNIFORM, 0, 1, eps.data()};
    EXPECT(sim()->attack_start(attack, &start) == SIGNSTEP_OK);
    return attack;
  }

  // The definition: every sample by itself, step by step, until it is fooled.
  Story one_by_one(const Loaded& loaded) const {
    Story story(count);
    const float eps = radius, alpha = radius / 4;
    const signstep_step_rule rule{kind, 1, 1, 0, remember, &alpha, &eps};
    for (std::uint32_t i = 0; i < count; ++i) {
      signstep_attack* const attack = begin(loaded, i, 1);
      float* const image = story.images.data() + i * kPixels;
      for (std::uint32_t step = 0; step < steps && !story.finished[i]; ++step) {
        EXPECT(sim()->attack_images(attack, nullptr, 1, image) == SIGNSTEP_OK);
        float loss = 0;
        std::int32_t prediction = 0;
        signstep_step_results results{&loss, &prediction, nullptr, nullptr, nullptr};
        EXPECT(sim()->attack_steps(attack, &rule, 1, &results, nullptr) == SIGNSTEP_OK);
        story.loss[i].push_back(loss);
        story.predictions[i].push_back(prediction);
        story.finished[i] = prediction != batch.labels[i];
      }
      if (!story.finished[i]) EXPECT(sim()->attack_images(attack, nullptr, 1, image) == SIGNSTEP_OK);
      if (!story.finished[i] && remember != 0) EXPECT(sim()->attack_best(attack, story.best.data() + i * kPixels, nullptr) == SIGNSTEP_OK);
      sim()->attack_free(attack);
    }
    return story;
  }

  // All samples at once, `together` steps a call; those that are fooled retire.
  Story retiring(const Loaded& loaded, std::uint32_t together, const volatile std::int32_t* cancel = nullptr) const {
    Story story(count);
    signstep_attack* const attack = begin(loaded, 0, count);
    std::vector<std::uint32_t> active(count);
    std::iota(active.begin(), active.end(), 0u);
    for (std::uint32_t done = 0; done < steps; done += together) {
      const std::size_t width = active.size();
      const std::vector<float> eps(width + 1, radius), alpha(width + 1, radius / 4);
      std::vector<float> loss(together * width + 1);
      std::vector<std::int32_t> predictions(together * width + 1);
      std::vector<std::uint32_t> left(together);
      const signstep_step_rule rule{kind, 1, 1, 1, remember, alpha.data(), eps.data()};
      signstep_step_results results{loss.data(), predictions.data(), nullptr, nullptr, left.data()};
      EXPECT(sim()->attack_steps(attack, &rule, together, &results, cancel) == SIGNSTEP_OK);
      for (std::uint32_t step = 0; step < together; ++step) {
        std::vector<std::uint32_t> survivors;
        for (std::size_t k = 0; k < active.size(); ++k) {
          const std::uint32_t i = active[k];
          story.loss[i].push_back(loss[step * width + k]);
          story.predictions[i].push_back(predictions[step * width + k]);
          story.finished[i] = story.predictions[i].back() != batch.labels[i];
          if (!story.finished[i]) survivors.push_back(i);
        }
        active = survivors;
        EXPECT(left[step] == active.size());
      }
    }
    const std::vector<float> rest = active.empty() ? std::vector<float>() : pixels_of(attack, static_cast<std::uint32_t>(active.size()));
    std::vector<float> best(rest.size());
    if (remember != 0 && !active.empty()) EXPECT(sim()->attack_best(attack, best.data(), nullptr) == SIGNSTEP_OK);
    for (std::size_t k = 0; k < active.size(); ++k) {
      std::copy_n(rest.begin() + static_cast<std::ptrdiff_t>(k * kPixels), kPixels, story.images.begin() + static_cast<std::ptrdiff_t>(active[k] * kPixels));
      if (remember != 0)
        std::copy_n(best.begin() + static_cast<std::ptrdiff_t>(k * kPixels), kPixels, story.best.begin() + static_cast<std::ptrdiff_t>(active[k] * kPixels));
    }
    for (std::int32_t i = 0; i < static_cast<std::int32_t>(count); ++i) {
      float* const image = story.images.data() + static_cast<std::size_t>(i) * kPixels;
      if (story.finished[static_cast<std::size_t>(i)])
        EXPECT(sim()->attack_finished(attack, &i, 1, image) == SIGNSTEP_OK);
      else
        EXPECT(sim()->attack_finished(attack, &i, 1, image) == SIGNSTEP_INVALID && says("not been finished"));
    }
    sim()->attack_free(attack);
    return story;
  }
};

std::size_t finished_of(const Story& story) { return static_cast<std::size_t>(std::count(story.finished.begin(), story.finished.end(), true)); }

}  // namespace

TEST("samples that retire when they are fooled fare as each would by itself, to the bit") {
  std::size_t early = 0, late = 0;
  for (const std::uint32_t precision : {SIGNSTEP_BF16, SIGNSTEP_FLOAT32})
    for (const std::uint32_t kind : {SIGNSTEP_RULE_LINF, SIGNSTEP_RULE_L2, SIGNSTEP_RULE_MOMENTUM})
      for (std::uint64_t seed = 1; seed <= 3; ++seed) {
        const Loaded loaded(request(precision));
        EarlyStop attack(loaded, seed, 4, 0);
        attack.kind = kind;
        attack.remember = seed % 2;
        attack.radii(kind == SIGNSTEP_RULE_L2 ? 0.5f : 0.12f);
        const Story expected = attack.one_by_one(loaded);
        for (const std::uint32_t together : {6u, 3u, 1u}) EXPECT(attack.retiring(loaded, together) == expected);
        const volatile std::int32_t down = 0;
        EXPECT(attack.retiring(loaded, 6, &down) == expected);
        (finished_of(expected) > 0 ? early : late) += 1;
      }
  EXPECT(early >= 6);
}

TEST("so it is where all are fooled at once, none, all but one, and in a batch of one") {
  const Loaded loaded;
  for (const std::uint32_t count : {1u, 4u})
    for (const std::uint32_t wrong : {0u, count - 1, count}) {
      EarlyStop attack(loaded, 7, count, wrong);
      attack.radii(0.001f);  // too little to fool anyone
      const Story expected = attack.one_by_one(loaded);
      EXPECT(finished_of(expected) == wrong);
      EXPECT(attack.retiring(loaded, 6) == expected);
      EXPECT(attack.retiring(loaded, 2) == expected);
    }
}

TEST("an attack whose samples have all retired takes further calls") {
  const Loaded loaded;
  EarlyStop attack(loaded, 3, 2, 2);
  signstep_attack* const begun = attack.begin(loaded, 0, 2);
  const std::vector<float> eps(2, 0.1f);
  const signstep_step_rule rule{SIGNSTEP_RULE_LINF, 1, 1, 1, 0, eps.data(), eps.data()};
  std::uint32_t left[3] = {9, 9, 9};
  signstep_step_results results{nullptr, nullptr, nullptr, nullptr, left};
  EXPECT(sim()->attack_steps(begun, &rule, 1, &results, nullptr) == SIGNSTEP_OK && left[0] == 0);
  EXPECT(sim()->attack_steps(begun, &rule, 3, &results, nullptr) == SIGNSTEP_OK);
  EXPECT(left[0] == 0 && left[1] == 0 && left[2] == 0);
  float none = 5;
  EXPECT(sim()->attack_score(begun, &none, nullptr, &none) == SIGNSTEP_OK && none == 5.0f);
  EXPECT(sim()->attack_images(begun, nullptr, 0, &none) == SIGNSTEP_OK && none == 5.0f);
  sim()->attack_free(begun);
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
  signstep_step_results results{loss.data(), predictions.data(), nan.data(), zero.data(), nullptr};
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
    const std::int32_t first = 0;
    EXPECT(sim()->attack_finished(begun.attack, &first, 1, radius.pixels.data()) == SIGNSTEP_INVALID && says("not been finished"));
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
