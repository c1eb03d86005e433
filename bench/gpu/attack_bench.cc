// Times attacks through the C table, as anyone's program would run them. bench/gpu/measure.py drives it over stdin and stdout, so that
// rivals in another process can be timed in turns with it:
//
//   attack_bench cuda|sim <plan> <batch> bf16|fp16|float32|fp8 <seed>      seed 0: the plan's own weights, else random ones
//     run forward|step|pgd10 <seconds>      → {"samples": [ms, …]}     at least one sample
//     gradient <images> <labels> <out>      files of float32 and int32; out: logits, then the image gradient
//   and a line of JSON about the device once it has loaded.
//
// What is timed is the blocking call: launch, all kernels and the host's wait. A step is attack_steps(1), pgd10 a random start and
// attack_steps(10); the images are on the device already, as they are in the rivals.
#include <chrono>
#include <cstring>
#include <iostream>
#include <sstream>

#include "../../native/include/signstep/engine.h"
#include "plan_file.h"
#include "plan_weights.h"

namespace {

const signstep_engine* engine;

void check(signstep_status status, const char* what) {
  if (status != SIGNSTEP_OK) bench::stop(std::string(what) + ": " + engine->last_error());
}

std::uint32_t precision_of(const std::string& name) {
  if (name == "bf16") return SIGNSTEP_BF16;
  if (name == "fp16") return SIGNSTEP_FP16;
  if (name == "fp8") return SIGNSTEP_FP8;
  if (name == "float32") return SIGNSTEP_FLOAT32;
  bench::stop("precision: expected bf16, fp16, float32 or fp8, found " + name);
}

class Bench {
 public:
  Bench(const std::vector<std::uint8_t>& plan, std::uint32_t batch, const std::string& precision) {
    signstep_load load{};
    load.batch = batch;
    load.precision = precision_of(precision);
    load.plan = plan.data();
    load.plan_bytes = plan.size();
    check(engine->program_load(&load, &program_), "program_load");
    check(engine->program_info(program_, &info_), "program_info");
    signstep_device_info device{};
    check(engine->device_info(0, &device), "device_info");
    std::cout << "{\"engine\": \"" << engine->name << "\", \"version\": \"" << engine->version << "\", \"device\": \"" << device.name
              << "\", \"compute_capability\": " << device.compute_capability << ", \"batch\": " << info_.batch
              << ", \"side\": " << info_.height << ", \"device_bytes\": " << info_.device_bytes << "}" << std::endl;

    bench::Normal normal(7);
    images_.resize(pixels() * info_.batch);
    for (float& pixel : images_) pixel = std::fmin(std::fmax(0.5f + 0.25f * normal.next(), 0.0f), 1.0f);
    for (std::uint32_t i = 0; i < info_.batch; ++i) {
      labels_.push_back(static_cast<std::int32_t>(i % info_.classes));
      indices_.push_back(static_cast<std::int32_t>(i));
    }
    eps_.assign(info_.batch, 4.0f / 255);
    alpha_.assign(info_.batch, 1.0f / 255);
    logits_.resize(static_cast<std::size_t>(info_.batch) * info_.classes);
    begin();
  }
  ~Bench() {
    engine->attack_free(attack_);
    engine->program_free(program_);
  }
  Bench(const Bench&) = delete;

  void run(const std::string& task, double seconds) {
    using clock = std::chrono::steady_clock;
    const auto end = clock::now() + std::chrono::duration<double>(seconds);
    std::cout << "{\"samples\": [";
    for (bool first = true;; first = false) {
      const auto before = clock::now();
      once(task);
      const auto after = clock::now();
      std::cout << (first ? "" : ", ") << std::chrono::duration<double, std::milli>(after - before).count();
      if (after >= end) break;
    }
    std::cout << "]}" << std::endl;
  }

  void gradient(const std::string& images, const std::string& labels, const std::string& out) {
    const std::vector<std::uint8_t> pixel_bytes = bench::read_file(images), label_bytes = bench::read_file(labels);
    if (pixel_bytes.size() != images_.size() * 4 || label_bytes.size() != labels_.size() * 4)
      bench::stop(images + ", " + labels + ": expected as many images as the batch");
    std::memcpy(images_.data(), pixel_bytes.data(), pixel_bytes.size());
    std::memcpy(labels_.data(), label_bytes.data(), label_bytes.size());
    engine->attack_free(attack_);
    begin();
    std::vector<float> gradient(images_.size());
    check(engine->forward(program_, info_.batch, images_.data(), logits_.data()), "forward");
    check(engine->attack_gradient(attack_, gradient.data()), "attack_gradient");
    std::ofstream file(out, std::ios::binary);
    file.write(reinterpret_cast<const char*>(logits_.data()), static_cast<std::streamsize>(logits_.size() * 4));
    file.write(reinterpret_cast<const char*>(gradient.data()), static_cast<std::streamsize>(gradient.size() * 4));
    if (!file.flush()) bench::stop(out + ": cannot be written");
    std::cout << "{\"written\": true}" << std::endl;
  }

 private:
  std::size_t pixels() const { return static_cast<std::size_t>(info_.channels) * info_.height * info_.width; }

  void begin() {
    signstep_images batch{};
    batch.count = info_.batch;
    batch.images = images_.data();
    batch.labels = labels_.data();
    batch.sample_indices = indices_.data();
    batch.seed = 1;
    check(engine->attack_begin(program_, &batch, &attack_), "attack_begin");
    start(SIGNSTEP_START_CLEAN);
  }

  void start(signstep_start_kind kind) {
    signstep_start_rule rule{};
    rule.kind = static_cast<std::uint32_t>(kind);
    rule.scale = 1;
    rule.eps = eps_.data();
    check(engine->attack_start(attack_, &rule), "attack_start");
  }

  void steps(std::uint32_t count) {
    signstep_step_rule rule{};
    rule.rule = SIGNSTEP_RULE_LINF;
    rule.direction = 1;
    rule.alpha = alpha_.data();
    rule.eps = eps_.data();
    check(engine->attack_steps(attack_, &rule, count, nullptr, nullptr), "attack_steps");
  }

  void once(const std::string& task) {
    if (task == "forward") {
      check(engine->forward(program_, info_.batch, images_.data(), logits_.data()), "forward");
    } else if (task == "step") {
      steps(1);
    } else if (task == "pgd10") {
      start(SIGNSTEP_START_UNIFORM);
      steps(10);
    } else {
      bench::stop("task: expected forward, step or pgd10, found " + task);
    }
  }

  signstep_program* program_ = nullptr;
  signstep_attack* attack_ = nullptr;
  signstep_program_info info_{};
  std::vector<float> images_, eps_, alpha_, logits_;
  std::vector<std::int32_t> labels_, indices_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) bench::stop("usage: attack_bench cuda|sim <plan> <batch> bf16|fp16|float32|fp8 <seed>");
  const signstep_api* api = signstep_get_api(SIGNSTEP_ABI_VERSION);
  engine = api == nullptr ? nullptr : api->engine(argv[1]);
  if (engine == nullptr) bench::stop(std::string(argv[1]) + ": " + (api == nullptr ? "another version of the library" : api->last_error()));
  if (engine->device_count() == 0) bench::stop(std::string(argv[1]) + ": " + engine->last_error());

  std::vector<std::uint8_t> plan = bench::read_file(argv[2]);
  const std::uint64_t seed = std::stoull(argv[5]);
  try {
    if (seed != 0) bench::randomise_weights(plan, seed);
  } catch (const signstep::program::PlanError& error) {
    bench::stop(std::string(argv[2]) + ": " + error.message);
  }
  Bench bench(plan, static_cast<std::uint32_t>(std::stoul(argv[3])), argv[4]);

  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command, task, images, labels, out;
    double seconds = 0;
    words >> command;
    if (command == "run" && words >> task >> seconds) {
      bench.run(task, seconds);
    } else if (command == "gradient" && words >> images >> labels >> out) {
      bench.gradient(images, labels, out);
    } else {
      bench::stop("command: expected run or gradient, found " + line);
    }
  }
  return 0;
}
