#include "attack.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "images.h"

namespace signstep::engine {
namespace {

using kernels::Images;

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

void check_radii(const char* what, const float* values, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i)
    if (!(values[i] >= 0) || std::isinf(values[i]))
      refuse(std::string(what) + ": expected finite numbers >= 0, found " + std::to_string(values[i]) + " for image " + std::to_string(i));
}

std::size_t floats(std::int64_t count) { return static_cast<std::size_t>(count) * sizeof(float); }

template <class T>
void send(Mirrored<T>& to, const T* values, std::int64_t count, rt::Stream stream) {
  std::copy(values, values + count, to.host());
  to.upload(static_cast<std::size_t>(count), stream);
}

}  // namespace

Attack::Attack(LoadedProgram& program, const signstep_images& batch)
    : program_(program), count_(batch.count), targeted_(batch.targets != nullptr), finished_(batch.count, false) {
  rt::use_device(program.device());
  check_batch(program, batch);
  const std::int64_t elements = program.elements();
  check_finite(batch.images, count_, elements);
  buffers_ = program.take_buffers();
  AttackBuffers& own = *buffers_;
  const rt::Stream stream = program.copies();
  try {
    const auto live = static_cast<std::int32_t>(count_);
    engine::send(own.planes, batch.images, count_ * elements, stream);
    engine::send(own.live, &live, 1, stream);
    Images images = images_like(program.header(), program.batch(), program.precision(), own.live.data());
    images.x = own.x.data();
    kernels::import_images(images, own.x0.data(), own.planes.data(), stream);
    engine::send(own.labels, batch.labels, count_, stream);
    if (targeted_) engine::send(own.targets, batch.targets, count_, stream);
    engine::send(own.sample_indices, batch.sample_indices, count_, stream);
    if (batch.reference_logits != nullptr) engine::send(own.reference, batch.reference_logits, count_ * program.header().classes, stream);
    std::iota(own.order.host(), own.order.host() + count_, 0);
    own.order.upload(static_cast<std::size_t>(count_), stream);
    engine::send(own.seed, &batch.seed, 1, stream);
    rt::record(own.uploaded.get(), stream);
  } catch (...) {
    try {
      rt::synchronize(stream);  // what was sent off still reads the buffers
    } catch (const rt::Failure&) {
      // The failure before it says what happened.
    }
    program.give_back(std::move(buffers_));
    throw;
  }
}

Attack::~Attack() {
  try {
    enter();
    rt::synchronize(program_.stream());
  } catch (const rt::Failure&) {
    // Reported by the call that caused it; the memory is given back all the same.
  }
  if (program_.operand_owner == this) program_.operand_owner = nullptr;
  program_.give_back(std::move(buffers_));
}

// Every call begins here. The device waits for the upload, the host does not.
void Attack::enter() {
  rt::use_device(program_.device());
  if (!arrived_) rt::wait(program_.stream(), buffers_->uploaded.get());
  arrived_ = true;
}

Images Attack::device_images() const {
  Images images = images_like(program_.header(), program_.batch(), program_.precision(), buffers_->live.data());
  images.x = buffers_->x.data();
  images.x0 = buffers_->x0.data();
  images.operand = program_.gradient().input();
  return images;
}

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

// A value an image; `factor` of it. Every call that sends waits for the stream before it returns, so that the host's twin is free again.
void Attack::send(Mirrored<float>& to, const float* values, float factor, float absent) {
  for (std::int64_t i = 0; i < count_; ++i) to.host()[i] = values == nullptr ? absent : factor * values[i];
  to.upload(static_cast<std::size_t>(count_), program_.stream());
}

void Attack::start(const signstep_start_rule& rule) {
  enter();
  if (rule.kind > SIGNSTEP_START_L2_SPHERE) refuse("kind: expected a signstep_start_kind, found " + std::to_string(rule.kind));
  if (rule.restart >= 1u << 24) refuse("restart: expected less than 2^24, found " + std::to_string(rule.restart));
  AttackBuffers& own = *buffers_;
  kernels::StartRule device;
  device.kind = static_cast<kernels::StartRule::Kind>(rule.kind);
  if (rule.kind != SIGNSTEP_START_CLEAN) {
    if (rule.eps == nullptr) refuse("eps is needed for a random start");
    if (!(rule.scale >= 0) || std::isinf(rule.scale)) refuse("scale: expected a finite number >= 0, found " + std::to_string(rule.scale));
    check_radii("eps", rule.eps, count_);
    send(own.start_eps, rule.eps, 1, 0);
    engine::send(own.restart, &rule.restart, 1, program_.stream());
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
  const std::uint8_t* const hold = rule->retire != 0 ? own.fooled.data() : nullptr;
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
  } else {
    run_rule(*rule, hold, nan_count, nonzero);
  }
  if (rule->retire != 0) leave_out_fooled(slot, *rule);
}

// The step as a kernel of its own.
void Attack::run_rule(const signstep_step_rule& rule, const std::uint8_t* hold, std::int32_t* nan_count, std::int32_t* nonzero) {
  AttackBuffers& own = *buffers_;
  kernels::StepRule step;
  step.kind = static_cast<kernels::StepRule::Kind>(rule.rule);
  step.gradient = program_.gradient().image_gradient();
  step.alpha = own.alpha.data();
  step.eps = own.eps.data();
  step.decay = rule.decay;
  step.momentum = own.momentum.data();
  step.hold = hold;
  step.nan_count = nan_count;
  step.nonzero = nonzero;
  step.sums = own.sums.data();
  kernels::step(device_images(), step, program_.stream());
}

// After every step: what it costs where images were fooled, their neighbours' two or three arrays once through memory, is at most a
// hundredth of a step; where none was, three launches that end at once.
void Attack::leave_out_fooled(std::uint32_t slot, const signstep_step_rule& rule) {
  AttackBuffers& own = *buffers_;
  const rt::Stream stream = program_.stream();
  const Images images = device_images();
  kernels::finish_images(images, own.fooled.data(), own.order.data(), own.finished.data(), stream);
  kernels::surviving_rows(own.fooled.data(), own.live.data(), own.rows.data(), own.left.data() + slot, stream);
  const std::int64_t pixels = program_.elements() * 4;
  kernels::KeptRows kept;
  kept.rows = own.rows.data();
  kept.count = own.live.data();
  kept.add(own.x.data(), pixels);
  kept.add(own.x0.data(), pixels);
  kept.add(images.operand, program_.elements() * static_cast<std::int64_t>(kernels::bytes_of(program_.precision())));
  if (rule.rule == SIGNSTEP_RULE_MOMENTUM) kept.add(own.momentum.data(), pixels);
  if (rule.remember != 0) {
    kept.add(own.best.data(), pixels);
    kept.add(own.best_value.data(), 4);
  }
  for (void* each : {static_cast<void*>(own.alpha.data()), static_cast<void*>(own.eps.data()), static_cast<void*>(own.labels.data()),
                     static_cast<void*>(own.sample_indices.data()), static_cast<void*>(own.order.data())})
    kept.add(each, 4);
  if (targeted_) kept.add(own.targets.data(), 4);
  if (program_.header().loss == program::Loss::kl) kept.add(own.reference.data(), 4 * static_cast<std::int64_t>(program_.header().classes));
  kernels::keep_rows(kept, stream);
}

// Replays the recorded graph of `steps` steps of this rule, recording it first where there is none.
void Attack::launch_graph(const signstep_step_rule& rule, std::uint32_t steps) {
  const rt::Stream stream = program_.stream();
  const AttackBuffers::GraphKey key{rule.rule, steps, rule.direction, rule.retire != 0, rule.remember != 0, rule.decay};
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
  enter();
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
  send(own.alpha, rule.alpha, static_cast<float>(rule.direction), 0);
  send(own.eps, rule.eps, 1, std::numeric_limits<float>::infinity());
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
  if (rule.retire != 0 && own.finished.size() == 0) own.finished = DeviceArray<float>(static_cast<std::size_t>(all));
  own_operand();

  const std::int64_t width = count_;
  const bool stepwise = (cancel != nullptr && kStepsPerPoll == 0) || rt::launches_are_waited_for();
  const std::uint32_t most = stepwise ? 1 : cancel == nullptr ? AttackBuffers::kStepsPerGraph : kStepsPerPoll;
  for (std::uint32_t done = 0; done < steps;) {
    if (asked(cancel)) return false;
    if (count_ == 0) {
      if (results != nullptr && results->left != nullptr) std::fill(results->left + done, results->left + steps, 0u);
      break;
    }
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
    collect(done, chunk, width, rule.retire != 0, results);
    done += chunk;
  }
  return true;
}

// Rows of `chunk` steps become rows `from`... of the caller's arrays [steps, width]; of each as many elements as images were under attack.
void Attack::collect(std::uint32_t from, std::uint32_t chunk, std::int64_t width, bool retire, signstep_step_results* results) {
  AttackBuffers& own = *buffers_;
  const rt::Stream stream = program_.stream();
  const std::int64_t batch = program_.batch(), before = count_;
  const std::size_t all = static_cast<std::size_t>(chunk * batch);
  if (results != nullptr && results->loss != nullptr) own.loss.download(all, stream);
  if (results != nullptr && results->predictions != nullptr) own.predictions.download(all, stream);
  if (results != nullptr && results->nan_gradients != nullptr) own.nan_count.download(all, stream);
  if (results != nullptr && results->zero_gradients != nullptr) own.nonzero.download(all, stream);
  if (retire) {
    own.left.download(chunk, stream);
    own.order.download(static_cast<std::size_t>(before), stream);
  }
  rt::synchronize(stream);
  for (std::uint32_t i = 0; i < chunk; ++i) {
    if (results != nullptr) {
      const std::int64_t row = i * batch, to = (from + i) * width;
      if (results->loss != nullptr) std::copy_n(own.loss.host() + row, count_, results->loss + to);
      if (results->predictions != nullptr) std::copy_n(own.predictions.host() + row, count_, results->predictions + to);
      if (results->nan_gradients != nullptr) std::copy_n(own.nan_count.host() + row, count_, results->nan_gradients + to);
      if (results->zero_gradients != nullptr)
        std::transform(own.nonzero.host() + row, own.nonzero.host() + row + count_, results->zero_gradients + to,
                       [](std::int32_t nonzero) { return static_cast<std::uint8_t>(nonzero == 0 ? 1 : 0); });
    }
    if (retire) count_ = own.left.host()[i];
    if (results != nullptr && results->left != nullptr) results->left[from + i] = static_cast<std::uint32_t>(count_);
  }
  if (!retire) return;
  // Whoever was under attack before the chunk and is not now has been finished in it.
  finished_.assign(finished_.size(), true);
  for (std::int64_t i = 0; i < count_; ++i) finished_[static_cast<std::size_t>(own.order.host()[i])] = false;
}

void Attack::score(float* loss, std::int32_t* predictions, float* logits) {
  enter();
  AttackBuffers& own = *buffers_;
  const rt::Stream stream = program_.stream();
  ForwardPass& forward = program_.forward();
  rt::copy(forward.input(), own.x.data(), floats(count_ * program_.elements()), stream);
  const program::Header& header = program_.header();
  kernels::LossHead head;
  head.precision = kernels::Precision::float32;
  head.logits = forward.run(own.live.data(), stream);
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
  const auto all = static_cast<std::size_t>(count_);
  if (loss != nullptr) own.loss.download(all, stream);
  if (predictions != nullptr) own.predictions.download(all, stream);
  if (logits != nullptr) forward.download(count_, logits, stream);
  rt::synchronize(stream);
  if (loss != nullptr) std::copy_n(own.loss.host(), all, loss);
  if (predictions != nullptr) std::copy_n(own.predictions.host(), all, predictions);
}

// Of an array in the program's layout, by way of pinned memory.
void Attack::download_planes(const Images& like, const float* from, const std::int32_t* rows, std::uint32_t count, float* out) {
  const rt::Stream stream = program_.stream();
  const std::int64_t elements = program_.elements();
  Mirrored<float>& planes = buffers_->planes;
  kernels::export_images(like, from, planes.data(), stream);
  for (std::uint32_t i = 0; i < count;) {
    // Neighbouring rows come in one copy.
    const std::int64_t row = rows == nullptr ? 0 : rows[i];
    std::uint32_t run = rows == nullptr ? count : 1;
    while (rows != nullptr && i + run < count && rows[i + run] == row + run) ++run;
    rt::download(planes.host() + i * elements, planes.data() + row * elements, floats(run * elements), stream);
    i += run;
  }
  rt::synchronize(stream);
  std::copy_n(planes.host(), count * elements, out);
}

void Attack::images(const std::int32_t* rows, std::uint32_t count, float* out) {
  enter();
  if (rows == nullptr ? count != count_ : count > count_) refuse("count: expected " + std::to_string(count_) + ", found " + std::to_string(count));
  for (std::uint32_t i = 0; rows != nullptr && i < count; ++i)
    if (rows[i] < 0 || rows[i] >= count_) refuse("rows: expected 0 to " + std::to_string(count_ - 1) + ", found " + std::to_string(rows[i]));
  download_planes(device_images(), buffers_->x.data(), rows, count, out);
}

void Attack::best(float* images, float* loss) {
  enter();
  if (!best_started_) refuse("no step with `remember` was made since the start");
  const auto all = static_cast<std::uint32_t>(count_);
  if (images != nullptr) download_planes(device_images(), buffers_->best.data(), nullptr, all, images);
  if (loss != nullptr) rt::download(loss, buffers_->best_value.data(), floats(count_), program_.stream());
  rt::synchronize(program_.stream());
}

void Attack::gradient(float* out) {
  enter();
  own_operand();
  bool cancelled = false;
  run_gradient(0, nullptr, &cancelled, nullptr);
  download_planes(device_images(), program_.gradient().image_gradient(), nullptr, static_cast<std::uint32_t>(count_), out);
}

void Attack::finished(const std::int32_t* positions, std::uint32_t count, float* out) {
  enter();
  if (count > finished_.size()) refuse("count: expected at most " + std::to_string(finished_.size()) + ", found " + std::to_string(count));
  for (std::uint32_t i = 0; i < count; ++i)
    if (positions[i] < 0 || static_cast<std::size_t>(positions[i]) >= finished_.size() || !finished_[static_cast<std::size_t>(positions[i])])
      refuse("positions: image " + std::to_string(positions[i]) + " of the batch has not been finished");
  Images all = device_images();
  all.live = nullptr;
  download_planes(all, buffers_->finished.data(), positions, count, out);
}

}  // namespace signstep::engine
