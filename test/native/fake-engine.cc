// An engine without kernels, for the tests of the addon and of the backend over it: a plugin whose "device" adds numbers. What it does is
// said by the plan, a text: "classes 3 image 1 2 2 batch 8 milliseconds 0". A real plan stands for a device with room for 3 images.
#include <signstep/engine.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace {

thread_local std::string error;
std::atomic<std::uint64_t> allocated{0};

signstep_status fail(signstep_status status, const std::string& text) {
  error = text;
  return status;
}

}  // namespace

struct signstep_program {
  signstep_program_info info{};
  int milliseconds = 0;  // of a step and of a forward pass
  std::atomic<int> attacks = 0;
  std::size_t pixels() const { return std::size_t{info.channels} * info.height * info.width; }
};

struct signstep_attack {
  signstep_program* program;
  std::vector<float> x0, x, finished;
  std::vector<std::int32_t> labels, order;
  std::int32_t made = 0;  // steps
  std::size_t count() const { return labels.size(); }
};

namespace {

const char* last_error() { return error.c_str(); }
std::int32_t device_count() { return 2; }
std::uint64_t allocated_bytes() { return allocated; }

signstep_status device_info(std::int32_t device, signstep_device_info* info) {
  if (device >= 2) return fail(SIGNSTEP_INVALID, "device: expected 0 or 1, found " + std::to_string(device));
  *info = {.name = "Abacus", .compute_capability = 90, .multiprocessors = 4, .memory = 1u << 30, .free_memory = 1u << 29, .precisions = 7};
  return SIGNSTEP_OK;
}

signstep_status program_load(const signstep_load* load, signstep_program** program) {
  std::string text(static_cast<const char*>(load->plan), load->plan_bytes);
  if (text.rfind("SIGNPLAN", 0) == 0) text = "classes 3 image 1 2 2 batch 3";
  std::istringstream words(text);
  auto made = std::make_unique<signstep_program>();
  std::uint32_t most = 0;
  for (std::string word; words >> word;) {
    if (word == "classes") words >> made->info.classes;
    else if (word == "image") words >> made->info.channels >> made->info.height >> made->info.width;
    else if (word == "batch") words >> most;
    else if (word == "targeted") made->info.targeted = 1;
    else if (word == "kl") made->info.loss = SIGNSTEP_KL;
    else if (word == "milliseconds") words >> made->milliseconds;
    else return fail(SIGNSTEP_INVALID, "plan: expected words, found '" + word + "'");
  }
  if (load->batch > most) return fail(SIGNSTEP_INTERNAL, "out of memory: expected a batch of " + std::to_string(most) + " at most");
  made->info.batch = load->batch == 0 ? most : load->batch;
  made->info.precision = load->precision;
  made->info.device_bytes = 1000;
  allocated += 1000;
  *program = made.release();
  return SIGNSTEP_OK;
}

signstep_status program_info(const signstep_program* program, signstep_program_info* info) {
  *info = program->info;
  return SIGNSTEP_OK;
}

void program_free(signstep_program* program) {
  if (program->attacks != 0) std::abort();  // the interface says: after its attacks
  allocated -= 1000;
  delete program;
}

bool wait(int milliseconds, const volatile std::int32_t* cancel) {
  for (int i = 0; i < milliseconds; ++i) {
    if (cancel != nullptr && *cancel != 0) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return cancel == nullptr || *cancel == 0;
}

// Logit c of an image: c + 1 times the sum of its pixels; the middle class where they are NaN.
signstep_status forward(signstep_program* program, std::uint32_t count, const float* images, float* logits) {
  wait(program->milliseconds, nullptr);
  for (std::size_t i = 0; i < count; ++i) {
    float sum = 0;
    for (std::size_t p = 0; p < program->pixels(); ++p) sum += images[i * program->pixels() + p];
    for (std::uint32_t c = 0; c < program->info.classes; ++c) logits[i * program->info.classes + c] = sum * static_cast<float>(c + 1);
  }
  return SIGNSTEP_OK;
}

signstep_status attack_begin(signstep_program* program, const signstep_images* images, signstep_attack** attack) {
  for (std::uint32_t i = 0; i < images->count; ++i)
    if (images->sample_indices[i] < 0) return fail(SIGNSTEP_INVALID, "sample_indices: expected 0 or more");
  const std::size_t all = images->count * program->pixels();
  auto made = std::make_unique<signstep_attack>();
  made->program = program;
  made->x0.assign(images->images, images->images + all);
  made->x = made->x0;
  made->labels.assign(images->labels, images->labels + images->count);
  // Told back as the start: what the device was given.
  if (images->reference_logits != nullptr) std::copy_n(images->reference_logits, std::min(all, images->count * std::size_t{program->info.classes}), made->x.begin());
  made->order.resize(images->count);
  std::iota(made->order.begin(), made->order.end(), 0);
  made->finished.resize(all, -1);
  ++program->attacks;
  allocated += 10;
  *attack = made.release();
  return SIGNSTEP_OK;
}

// clean: x0; otherwise x0 + scale * eps + restart
signstep_status attack_start(signstep_attack* attack, const signstep_start_rule* rule) {
  const std::size_t pixels = attack->program->pixels();
  for (std::size_t i = 0; i < attack->x.size(); ++i)
    attack->x[i] = attack->x0[i] + (rule->kind == 0 ? 0 : rule->scale * rule->eps[i / pixels] + static_cast<float>(rule->restart));
  return SIGNSTEP_OK;
}

// Those whose label is the number of steps that were made before have been fooled, if samples retire.
void retire(signstep_attack* attack) {
  const std::size_t pixels = attack->program->pixels();
  std::size_t kept = 0;
  for (std::size_t i = 0; i < attack->count(); ++i) {
    const float* const x = attack->x.data() + i * pixels;
    if (attack->labels[i] == attack->made) {
      std::copy(x, x + pixels, attack->finished.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(attack->order[i]) * pixels));
      continue;
    }
    std::copy(x, x + pixels, attack->x.data() + kept * pixels);
    std::copy(attack->x0.data() + i * pixels, attack->x0.data() + (i + 1) * pixels, attack->x0.data() + kept * pixels);
    attack->labels[kept] = attack->labels[i];
    attack->order[kept++] = attack->order[i];
  }
  attack->labels.resize(kept);
  attack->x.resize(kept * pixels);
  attack->x0.resize(kept * pixels);
}

// x += direction * alpha, up to eps (or not); the loss is the step's number, the prediction the image's place in the batch
signstep_status attack_steps(signstep_attack* attack, const signstep_step_rule* rule, std::uint32_t steps, signstep_step_results* results,
                             const volatile std::int32_t* cancel) {
  const std::size_t width = attack->count(), pixels = attack->program->pixels();
  for (std::uint32_t step = 0; step < steps; ++step) {
    if (!wait(attack->program->milliseconds, cancel)) return fail(SIGNSTEP_CANCELLED, "cancelled");
    for (std::size_t i = 0; i < attack->count(); ++i) {
      results->loss[step * width + i] = static_cast<float>(step);
      results->predictions[step * width + i] = attack->order[i];
      results->nan_gradients[step * width + i] = 0;
      results->zero_gradients[step * width + i] = rule->remember != 0 ? 1 : 0;
      if (rule->retire != 0 && attack->labels[i] == attack->made) continue;
      for (std::size_t p = i * pixels; p < (i + 1) * pixels; ++p) {
        attack->x[p] += static_cast<float>(rule->direction) * rule->alpha[i];
        if (rule->eps != nullptr) attack->x[p] = std::min(attack->x[p], attack->x0[p] + rule->eps[i]);
      }
    }
    if (rule->retire != 0) retire(attack);
    ++attack->made;
    results->left[step] = static_cast<std::uint32_t>(attack->count());
  }
  return SIGNSTEP_OK;
}

signstep_status attack_score(signstep_attack* attack, float* loss, std::int32_t* predictions, float* logits) {
  for (std::size_t i = 0; i < attack->count(); ++i) {
    loss[i] = attack->x[i * attack->program->pixels()];
    predictions[i] = attack->labels[i];
  }
  return forward(attack->program, static_cast<std::uint32_t>(attack->count()), attack->x.data(), logits);
}

signstep_status attack_images(signstep_attack* attack, const std::int32_t* rows, std::uint32_t count, float* images) {
  const std::size_t pixels = attack->program->pixels();
  for (std::size_t i = 0; i < count; ++i) {
    const auto row = rows != nullptr ? static_cast<std::size_t>(rows[i]) : i;
    std::memcpy(images + i * pixels, attack->x.data() + row * pixels, pixels * sizeof(float));
  }
  return SIGNSTEP_OK;
}

signstep_status attack_best(signstep_attack* attack, float* images, float* loss) {
  for (std::size_t i = 0; i < attack->count(); ++i) loss[i] = 7;
  return attack_images(attack, nullptr, static_cast<std::uint32_t>(attack->count()), images);
}

signstep_status attack_gradient(signstep_attack* attack, float* gradient) {
  for (std::size_t i = 0; i < attack->x.size(); ++i) gradient[i] = attack->x[i] - attack->x0[i];
  return SIGNSTEP_OK;
}

signstep_status attack_finished(signstep_attack* attack, const std::int32_t* positions, std::uint32_t count, float* images) {
  const std::size_t pixels = attack->program->pixels();
  for (std::size_t i = 0; i < count; ++i) {
    const float* const from = attack->finished.data() + static_cast<std::size_t>(positions[i]) * pixels;
    if (*from == -1) return fail(SIGNSTEP_INVALID, "positions: not finished");
    std::copy(from, from + pixels, images + i * pixels);
  }
  return SIGNSTEP_OK;
}

void attack_free(signstep_attack* attack) {
  --attack->program->attacks;
  allocated -= 10;
  delete attack;
}

}  // namespace

extern "C" SIGNSTEP_EXPORT const signstep_engine* signstep_plugin_engine(std::uint32_t) {
  static const signstep_engine engine = {
      .struct_size = sizeof(signstep_engine),
      .abi_version = SIGNSTEP_ENGINE_ABI_VERSION,
      .name = FAKE_NAME,
      .version = SIGNSTEP_VERSION,
      .last_error = last_error,
      .device_count = device_count,
      .device_info = device_info,
      .program_load = program_load,
      .program_info = program_info,
      .program_free = program_free,
      .forward = forward,
      .attack_begin = attack_begin,
      .attack_start = attack_start,
      .attack_steps = attack_steps,
      .attack_score = attack_score,
      .attack_images = attack_images,
      .attack_best = attack_best,
      .attack_gradient = attack_gradient,
      .attack_finished = attack_finished,
      .attack_free = attack_free,
      .allocated_bytes = allocated_bytes,
  };
  return &engine;
}
