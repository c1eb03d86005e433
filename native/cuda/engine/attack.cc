#include "attack.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

namespace signstep::engine {
namespace {

using kernels::Images;

[[noreturn]] void refuse(const std::string& message) { throw rt::Failure{rt::Failure::Kind::invalid, message}; }

bool asked(const volatile std::int32_t* cancel) { return cancel != nullptr && *cancel != 0; }

#if defined(SIGNSTEP_SIM) || defined(SIGNSTEP_CPU)
// A step takes a second there, or many: a call that can be cancelled runs launch by launch.
constexpr std::uint32_t kStepsPerPoll = 0;
#else
// One graph launch at most between two looks at the flag: 40 ms on the largest models.
constexpr std::uint32_t kStepsPerPoll = 10;
#endif

void check_batch(const LoadedProgram& program, const signstep_images& batch) {
  const program::Header& header = program.header();
  if (batch.count == 0 || batch.count > program.batch())
    refuse("count: expected 1 to " + std::to_string(program.batch()) + " images, found " + std::to_string(batch.count));
  if (batch.images == nullptr || batch.labels == nullptr || batch.sample_indices == nullptr) refuse("images, labels and sample_indices are needed");
  if ((header.targeted != 0) != (batch.targets != nullptr))
    refuse(header.targeted != 0 ? "targets: the program's loss is targeted" : "targets: the program's loss is not targeted");
  if ((header.loss == program::Loss::kl) != (batch.reference_logits != nullptr))
    refuse(header.loss == program::Loss::kl ? "reference_logits: the program's loss is KL" : "reference_logits: the program's loss is not KL");
  const auto classes = static_cast<std::int32_t>(header.classes);
  for (std::uint32_t i = 0; i < batch.count; ++i) {
    const auto check = [&](const char* what, std::int32_t value) {
      if (value < 0 || value >= classes)
        refuse(std::string(what) + ": expected 0 to " + std::to_string(classes - 1) + ", found " + std::to_string(value) + " for image " + std::to_string(i));
    };
    check("labels", batch.labels[i]);
    if (batch.targets != nullptr) check("targets", batch.targets[i]);
    if (batch.sample_indices[i] < 0) refuse("sample_indices: expected no negative number, found " + std::to_string(batch.sample_indices[i]));
  }
}

void check_finite(const float* images, std::int64_t count, std::int64_t elements) {
  for (std::int64_t i = 0; i < count * elements; ++i)
    if (!std::isfinite(images[i])) refuse("images: expected finite pixels, found a NaN or infinity in image " + std::to_string(i / elements));
}

void check_radii(const char* what, const float* values, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i)
    if (!(values[i] >= 0) || std::isinf(values[i]))
      refuse(std::string(what) + ": expected finite numbers >= 0, found " + std::to_string(values[i]) + " for image " + std::to_string(i));
}

Images images_of(LoadedProgram& program, AttackBuffers& buffers, void* operand, kernels::Precision precision) {
  const program::Header& header = program.header();
  Images images;
  images.precision = precision;
  images.x = buffers.x.data();
  images.x0 = buffers.x0.data();
  images.operand = operand;
  images.images = static_cast<std::int32_t>(program.batch());
  images.channels = static_cast<std::int32_t>(header.channels);
  images.height = static_cast<std::int32_t>(header.height);
  images.width = static_cast<std::int32_t>(header.width);
  images.patch = static_cast<std::int32_t>(header.patch);
  images.live = buffers.live.data();
  return images;
}

std::size_t floats(std::int64_t count) { return static_cast<std::size_t>(count) * sizeof(float); }

}  // namespace

Attack::Attack(LoadedProgram& program, const signstep_images& batch) : program_(program), count_(batch.count), targeted_(batch.targets != nullptr) {
  rt::use_device(program.device());
  check_batch(program, batch);
  const std::int64_t elements = program.elements();
  check_finite(batch.images, count_, elements);
  buffers_ = program.take_buffers();
  AttackBuffers& own = *buffers_;
  try {
    const rt::Stream stream = program.copies();
    std::byte* at = own.staging.data();
    const auto send = [&](void* to, const void* from, std::size_t bytes) {
      std::memcpy(at, from, bytes);
      rt::upload(to, at, bytes, stream);
      at += bytes;
    };
    send(own.planes.data(), batch.images, floats(count_ * elements));
    send(own.labels.data(), batch.labels, floats(count_));
    if (targeted_) send(own.targets.data(), batch.targets, floats(count_));
    send(own.sample_indices.data(), batch.sample_indices, floats(count_));
    if (batch.reference_logits != nullptr) send(own.reference.data(), batch.reference_logits, floats(count_ * program.header().classes));
    const auto live = static_cast<std::int32_t>(count_);
    rt::upload(own.live.data(), &live, sizeof live, stream);
    rt::upload(own.seed.data(), &batch.seed, sizeof batch.seed, stream);
    kernels::import_images(images_of(program, own, nullptr, program.precision()), own.x0.data(), own.planes.data(), stream);
    rt::record(own.uploaded.get(), stream);
    rt::wait(program.stream(), own.uploaded.get());
    // The caller's memory and the two locals may go once this returns.
    rt::synchronize(stream);
  } catch (...) {
    program.give_back(std::move(buffers_));
    throw;
  }
}

Attack::~Attack() {
  try {
    rt::use_device(program_.device());
    rt::synchronize(program_.copies());
    rt::synchronize(program_.stream());
  } catch (const rt::Failure&) {
    // Reported by the call that caused it; the memory is given back all the same.
  }
  if (program_.operand_owner == this) program_.operand_owner = nullptr;
  program_.give_back(std::move(buffers_));
}

Images Attack::device_images() const { return images_of(program_, *buffers_, program_.gradient().input(), program_.precision()); }

// The gradient's input holds the images of the attack that ran last.
void Attack::own_operand() {
  if (program_.operand_owner == this) return;
  kernels::Elementwise args;
  args.precision = program_.precision();
  args.out = {program_.gradient().input(), program::ElementType::value};
  args.a = {buffers_->x.data(), program::ElementType::float32};
  args.rank = 1;
  args.dims[0] = count_ * program_.elements();
  args.a_strides[0] = 1;
  kernels::elementwise(args, program_.stream());
  program_.operand_owner = this;
}

void Attack::upload_floats(DeviceArray<float>& to, const float* values, float factor, float absent) {
  std::vector<float> own(static_cast<std::size_t>(count_), absent);
  if (values != nullptr)
    for (std::size_t i = 0; i < own.size(); ++i) own[i] = factor * values[i];
  rt::upload(to.data(), own.data(), floats(count_), program_.stream());
  rt::synchronize(program_.stream());
}

void Attack::start(const signstep_start_rule& rule) {
  rt::use_device(program_.device());
  if (rule.kind > SIGNSTEP_START_L2_SPHERE) refuse("kind: expected a signstep_start_kind, found " + std::to_string(rule.kind));
  if (rule.restart >= 1u << 24) refuse("restart: expected less than 2^24, found " + std::to_string(rule.restart));
  AttackBuffers& own = *buffers_;
  kernels::StartRule device;
  device.kind = static_cast<kernels::StartRule::Kind>(rule.kind);
  if (rule.kind != SIGNSTEP_START_CLEAN) {
    if (rule.eps == nullptr) refuse("eps is needed for a random start");
    if (!(rule.scale >= 0) || std::isinf(rule.scale)) refuse("scale: expected a finite number >= 0, found " + std::to_string(rule.scale));
    check_radii("eps", rule.eps, count_);
    upload_floats(own.start_eps, rule.eps, 1, 0);
    rt::upload(own.restart.data(), &rule.restart, sizeof rule.restart, program_.stream());
  }
  device.eps = own.start_eps.data();
  device.scale = rule.scale;
  device.seed = own.seed.data();
  device.sample_indices = own.sample_indices.data();
  device.restart = own.restart.data();
  device.norms = own.norms.data();
  kernels::start(device_images(), device, program_.stream());
  rt::synchronize(program_.stream());
  program_.operand_owner = this;
  momentum_started_ = false;
  best_started_ = false;
}

bool Attack::fuses(const signstep_step_rule& rule) const { return rule.rule == SIGNSTEP_RULE_LINF && ends_in_product(program_.program()); }

// One gradient at the current iterate and, with a rule, its step; results go to row `slot`.
void Attack::run_gradient(std::uint32_t slot, const volatile std::int32_t* cancel, bool* cancelled, const signstep_step_rule* rule) {
  AttackBuffers& own = *buffers_;
  const rt::Stream stream = program_.stream();
  const std::int64_t batch = program_.batch();
  const std::int64_t row = static_cast<std::int64_t>(slot) * batch;
  Pass pass = program_.gradient().pass(own.live.data());
  pass.loss.labels = own.labels.data();
  pass.loss.targets = targeted_ ? own.targets.data() : nullptr;
  pass.loss.reference = own.reference.data();
  pass.loss.value = own.loss.data() + row;
  pass.loss.predictions = own.predictions.data() + row;
  pass.loss.fooled = own.fooled.data();
  const std::vector<program::Step>& steps = program_.gradient().steps();
  const bool fused = rule != nullptr && fuses(*rule);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (asked(cancel)) {
      *cancelled = true;
      return;
    }
    if (i + 1 == steps.size() && fused) break;
    run_step(pass, steps[i], i, stream);
    if (steps[i].op == program::Op::loss && rule != nullptr && rule->remember != 0)
      kernels::remember(device_images(), pass.loss.value, own.best_value.data(), own.best.data(), rule->direction, stream);
  }
  if (rule == nullptr) return;
  std::int32_t* const nan_count = own.nan_count.data() + row;
  std::int32_t* const nonzero = own.nonzero.data() + row;
  const std::uint8_t* const hold = rule->hold != 0 ? own.fooled.data() : nullptr;
  rt::fill(nan_count, 0, floats(batch), stream);
  rt::fill(nonzero, 0, floats(batch), stream);
  if (fused) {
    kernels::PatchStep update;
    update.x = own.x.data();
    update.x0 = own.x0.data();
    update.operand = program_.gradient().input();
    update.alpha = own.alpha.data();
    update.eps = own.eps.data();
    update.hold = hold;
    update.nan_count = nan_count;
    update.nonzero = nonzero;
    run_last_product(pass, steps.back(), update, stream);
    return;
  }
  kernels::StepRule step;
  step.kind = static_cast<kernels::StepRule::Kind>(rule->rule);
  step.gradient = program_.gradient().image_gradient();
  step.alpha = own.alpha.data();
  step.eps = own.eps.data();
  step.decay = rule->decay;
  step.momentum = own.momentum.data();
  step.hold = hold;
  step.nan_count = nan_count;
  step.nonzero = nonzero;
  step.sums = own.sums.data();
  kernels::step(device_images(), step, stream);
}

// Replays the recorded graph of `steps` steps of this rule, recording it first where there is none.
void Attack::launch_graph(const signstep_step_rule& rule, std::uint32_t steps) {
  const rt::Stream stream = program_.stream();
  const AttackBuffers::GraphKey key{rule.rule, steps, rule.direction, rule.hold != 0, rule.remember != 0, rule.decay};
  auto found = buffers_->graphs.find(key);
  if (found == buffers_->graphs.end()) {
    rt::begin_capture(stream);
    try {
      bool cancelled = false;
      for (std::uint32_t i = 0; i < steps; ++i) run_gradient(i, nullptr, &cancelled, &rule);
    } catch (...) {
      try {
        rt::destroy(rt::end_capture(stream));
      } catch (const rt::Failure&) {
        // A capture that a failure spoiled ends in another one; the first says what happened.
      }
      throw;
    }
    found = buffers_->graphs.emplace(key, rt::end_capture(stream)).first;
  }
  rt::launch(found->second, stream);
}

bool Attack::steps(const signstep_step_rule& rule, std::uint32_t steps, signstep_step_results* results, const volatile std::int32_t* cancel) {
  rt::use_device(program_.device());
  if (rule.rule > SIGNSTEP_RULE_MOMENTUM) refuse("rule: expected a signstep_rule, found " + std::to_string(rule.rule));
  if (rule.direction != 1 && rule.direction != -1) refuse("direction: expected 1 or -1, found " + std::to_string(rule.direction));
  if (rule.alpha == nullptr) refuse("alpha is needed");
  if (rule.eps == nullptr && rule.rule != SIGNSTEP_RULE_LINF) refuse("eps is needed for this rule");
  check_radii("alpha", rule.alpha, count_);
  if (rule.eps != nullptr) check_radii("eps", rule.eps, count_);
  if (rule.rule == SIGNSTEP_RULE_MOMENTUM && !(rule.decay >= 0 && std::isfinite(rule.decay)))
    refuse("decay: expected a finite number >= 0, found " + std::to_string(rule.decay));

  AttackBuffers& own = *buffers_;
  const rt::Stream stream = program_.stream();
  const std::int64_t all = program_.batch() * program_.elements();
  upload_floats(own.alpha, rule.alpha, static_cast<float>(rule.direction), 0);
  upload_floats(own.eps, rule.eps, 1, std::numeric_limits<float>::infinity());
  if (rule.rule == SIGNSTEP_RULE_MOMENTUM && !momentum_started_) {
    if (own.momentum.size() == 0) own.momentum = DeviceArray<float>(static_cast<std::size_t>(all));
    rt::fill(own.momentum.data(), 0, floats(all), stream);
    momentum_started_ = true;
  }
  if (rule.remember != 0 && !best_started_) {
    if (own.best.size() == 0) own.best = DeviceArray<float>(static_cast<std::size_t>(all));
    const float worst = -static_cast<float>(rule.direction) * std::numeric_limits<float>::infinity();
    kernels::fill(program_.precision(), {own.best_value.data(), program::ElementType::float32}, program_.batch(), worst, stream);
    rt::copy(own.best.data(), own.x.data(), floats(all), stream);
    best_started_ = true;
  }
  own_operand();

  const bool stepwise = cancel != nullptr && kStepsPerPoll == 0;
  const std::uint32_t most = cancel == nullptr ? AttackBuffers::kStepsPerGraph : std::max(1u, kStepsPerPoll);
  for (std::uint32_t done = 0; done < steps;) {
    if (asked(cancel)) return false;
    const std::uint32_t chunk = std::min(steps - done, most);
    if (stepwise) {
      bool cancelled = false;
      run_gradient(0, cancel, &cancelled, &rule);
      rt::synchronize(stream);
      if (cancelled) return false;
    } else {
      launch_graph(rule, chunk);
      rt::synchronize(stream);
    }
    if (results != nullptr) collect(done, chunk, *results);
    done += chunk;
  }
  return true;
}

// Copies the rows of `chunk` steps to rows `from`... of the caller's arrays [steps, count].
void Attack::collect(std::uint32_t from, std::uint32_t chunk, const signstep_step_results& results) {
  const AttackBuffers& own = *buffers_;
  const rt::Stream stream = program_.stream();
  const std::int64_t batch = program_.batch();
  for (std::uint32_t i = 0; i < chunk; ++i) {
    const std::int64_t row = i * batch;
    const std::int64_t to = static_cast<std::int64_t>(from + i) * count_;
    if (results.loss != nullptr) rt::download(results.loss + to, own.loss.data() + row, floats(count_), stream);
    if (results.predictions != nullptr) rt::download(results.predictions + to, own.predictions.data() + row, floats(count_), stream);
    if (results.nan_gradients != nullptr) rt::download(results.nan_gradients + to, own.nan_count.data() + row, floats(count_), stream);
    if (results.zero_gradients != nullptr) {
      std::vector<std::int32_t> nonzero(static_cast<std::size_t>(count_));
      rt::download(nonzero.data(), own.nonzero.data() + row, floats(count_), stream);
      rt::synchronize(stream);
      for (std::size_t k = 0; k < nonzero.size(); ++k) results.zero_gradients[static_cast<std::size_t>(to) + k] = nonzero[k] == 0 ? 1 : 0;
    }
  }
  rt::synchronize(stream);
}

void Attack::score(float* loss, std::int32_t* predictions, float* logits) {
  rt::use_device(program_.device());
  AttackBuffers& own = *buffers_;
  const rt::Stream stream = program_.stream();
  Instance& forward = program_.forward();
  rt::copy(forward.input(), own.x.data(), floats(count_ * program_.elements()), stream);
  const Pass pass = forward.pass(own.live.data());
  for (std::size_t i = 0; i < forward.steps().size(); ++i) run_step(pass, forward.steps()[i], i, stream);
  const program::Header& header = program_.header();
  kernels::LossHead head;
  head.precision = kernels::Precision::float32;
  head.logits = forward.logits();
  head.images = static_cast<std::int32_t>(program_.batch());
  head.classes = static_cast<std::int32_t>(header.classes);
  head.loss = header.loss;
  head.targeted = targeted_;
  head.labels = own.labels.data();
  head.targets = targeted_ ? own.targets.data() : nullptr;
  head.reference = own.reference.data();
  head.value = own.loss.data();
  head.predictions = own.predictions.data();
  head.live = own.live.data();
  kernels::loss_head(head, stream);
  if (loss != nullptr) rt::download(loss, own.loss.data(), floats(count_), stream);
  if (predictions != nullptr) rt::download(predictions, own.predictions.data(), floats(count_), stream);
  if (logits != nullptr) rt::download(logits, forward.logits(), floats(count_ * header.classes), stream);
  rt::synchronize(stream);
}

void Attack::download_planes(const float* from, const std::int32_t* rows, std::uint32_t count, float* out) {
  const rt::Stream stream = program_.stream();
  const std::int64_t elements = program_.elements();
  kernels::export_images(device_images(), from, buffers_->planes.data(), stream);
  for (std::uint32_t i = 0; i < count;) {
    // Neighbouring rows come in one copy.
    const std::int64_t row = rows == nullptr ? 0 : rows[i];
    std::uint32_t run = rows == nullptr ? count : 1;
    while (rows != nullptr && i + run < count && rows[i + run] == row + run) ++run;
    rt::download(out + i * elements, buffers_->planes.data() + row * elements, floats(run * elements), stream);
    i += run;
  }
  rt::synchronize(stream);
}

void Attack::images(const std::int32_t* rows, std::uint32_t count, float* out) {
  rt::use_device(program_.device());
  if (rows == nullptr && count != count_) refuse("count: expected " + std::to_string(count_) + ", found " + std::to_string(count));
  for (std::uint32_t i = 0; rows != nullptr && i < count; ++i)
    if (rows[i] < 0 || rows[i] >= count_) refuse("rows: expected 0 to " + std::to_string(count_ - 1) + ", found " + std::to_string(rows[i]));
  download_planes(buffers_->x.data(), rows, count, out);
}

void Attack::best(float* images, float* loss) {
  rt::use_device(program_.device());
  if (!best_started_) refuse("no step with `remember` was made since the start");
  if (images != nullptr) download_planes(buffers_->best.data(), nullptr, static_cast<std::uint32_t>(count_), images);
  if (loss != nullptr) rt::download(loss, buffers_->best_value.data(), floats(count_), program_.stream());
  rt::synchronize(program_.stream());
}

void Attack::gradient(float* out) {
  rt::use_device(program_.device());
  own_operand();
  bool cancelled = false;
  run_gradient(0, nullptr, &cancelled, nullptr);
  download_planes(program_.gradient().image_gradient(), nullptr, static_cast<std::uint32_t>(count_), out);
}

void Attack::keep(const std::int32_t* rows, std::uint32_t count) {
  rt::use_device(program_.device());
  for (std::uint32_t i = 0; i < count; ++i)
    if (rows[i] < 0 || rows[i] >= count_ || (i > 0 && rows[i] <= rows[i - 1]))
      refuse("rows: expected ascending positions below " + std::to_string(count_) + ", found " + std::to_string(rows[i]));
  AttackBuffers& own = *buffers_;
  const rt::Stream stream = program_.stream();
  const std::int64_t elements = program_.elements();
  const auto kept = static_cast<std::int32_t>(count);
  rt::upload(own.rows.data(), rows, floats(kept), stream);
  const auto move = [&](void* data, std::int64_t each) { kernels::keep_rows(data, each, own.rows.data(), kept, stream); };
  move(own.x0.data(), elements);
  move(own.x.data(), elements);
  if (momentum_started_) move(own.momentum.data(), elements);
  if (best_started_) {
    move(own.best.data(), elements);
    move(own.best_value.data(), 1);
  }
  move(own.labels.data(), 1);
  if (targeted_) move(own.targets.data(), 1);
  move(own.sample_indices.data(), 1);
  if (own.reference.size() > 0) move(own.reference.data(), program_.header().classes);
  rt::upload(own.live.data(), &kept, sizeof kept, stream);
  rt::synchronize(stream);
  count_ = count;
  if (program_.operand_owner == this) program_.operand_owner = nullptr;
}

void forward(LoadedProgram& program, std::uint32_t count, const float* images, float* logits) {
  rt::use_device(program.device());
  if (count == 0 || count > program.batch())
    refuse("count: expected 1 to " + std::to_string(program.batch()) + " images, found " + std::to_string(count));
  const std::int64_t elements = program.elements();
  check_finite(images, count, elements);
  std::unique_ptr<AttackBuffers> buffers = program.take_buffers();
  const rt::Stream stream = program.stream();
  try {
    Instance& forward = program.forward();
    const auto live = static_cast<std::int32_t>(count);
    rt::upload(buffers->planes.data(), images, floats(count * elements), stream);
    rt::upload(buffers->live.data(), &live, sizeof live, stream);
    kernels::import_images(images_of(program, *buffers, forward.input(), kernels::Precision::float32), buffers->x0.data(), buffers->planes.data(), stream);
    const Pass pass = forward.pass(buffers->live.data());
    for (std::size_t i = 0; i < forward.steps().size(); ++i) run_step(pass, forward.steps()[i], i, stream);
    rt::download(logits, forward.logits(), floats(static_cast<std::int64_t>(count) * program.header().classes), stream);
    rt::synchronize(stream);
  } catch (...) {
    program.give_back(std::move(buffers));
    throw;
  }
  program.give_back(std::move(buffers));
}

}  // namespace signstep::engine
