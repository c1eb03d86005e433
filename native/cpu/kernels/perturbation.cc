// Starts and steps: those of the core library, through its C interface, on images in whatever layout.
#include <cmath>

#include "image_layout.h"
#include "signstep/signstep.h"

namespace signstep::kernels {
namespace {

const signstep_api& core() { return *signstep_get_api(SIGNSTEP_ABI_VERSION); }

void check(signstep_status status) {
  if (status != SIGNSTEP_OK) throw rt::Failure{rt::Failure::Kind::internal, core().last_error()};
}

void start_image(const Images& images, const StartRule& rule, std::int64_t image, std::vector<float>& scratch) {
  const auto elements = static_cast<std::size_t>(images.elements());
  const std::int64_t at = image * images.elements();
  if (rule.kind == StartRule::Kind::clean) {
    std::copy(images.x0 + at, images.x0 + at + images.elements(), images.x + at);
    return write_operand(images, image);
  }
  scratch.resize(2 * elements);
  float* const out = scratch.data();
  float* const x0 = scratch.data() + elements;
  to_planes(images, images.x0 + at, x0);
  signstep_start start{};
  start.count = 1;
  start.elements = elements;
  start.out = out;
  start.x0 = x0;
  start.eps = rule.eps + image;
  start.sample_indices = rule.sample_indices + image;
  start.seed = *rule.seed;
  start.restart = *rule.restart;
  start.scale = rule.scale;
  start.sphere = rule.kind == StartRule::Kind::l2_sphere ? 1 : 0;
  check(rule.kind == StartRule::Kind::uniform ? core().start_uniform(&start) : core().start_l2(&start));
  from_planes(images, out, images.x + at);
  write_operand(images, image);
}

void step_image(const Images& images, const StepRule& rule, std::int64_t image, std::vector<float>& scratch) {
  const auto elements = static_cast<std::size_t>(images.elements());
  const std::int64_t at = image * images.elements();
  scratch.resize(4 * elements);
  float* const x = scratch.data();
  float *const x0 = x + elements, *const gradient = x0 + elements, *const momentum = gradient + elements;
  to_planes(images, images.x + at, x);
  to_planes(images, images.x0 + at, x0);
  to_planes(images, rule.gradient + at, gradient);
  const bool with_momentum = rule.kind == StepRule::Kind::momentum;
  if (with_momentum) to_planes(images, rule.momentum + at, momentum);

  const float alpha = std::fabs(rule.alpha[image]);
  const float eps = rule.eps[image] < 0 || std::isinf(rule.eps[image]) ? -1.0f : rule.eps[image];
  std::int32_t nan_count = 0;
  std::uint8_t zero = 0;
  signstep_step step{};
  step.count = 1;
  step.elements = elements;
  step.x = x;
  step.x0 = x0;
  step.gradient = gradient;
  step.momentum = with_momentum ? momentum : nullptr;
  step.alpha = &alpha;
  step.eps = &eps;
  step.decay = rule.decay;
  step.direction = std::signbit(rule.alpha[image]) ? -1 : 1;
  step.nan_counts = &nan_count;
  step.zero_flags = &zero;
  switch (rule.kind) {
    case StepRule::Kind::linf: check(core().step_linf(&step)); break;
    case StepRule::Kind::l2: check(core().step_l2(&step)); break;
    case StepRule::Kind::momentum: check(core().step_momentum(&step)); break;
  }
  if (rule.nan_count != nullptr) rule.nan_count[image] = nan_count;
  if (rule.nonzero != nullptr) rule.nonzero[image] = zero == 0 ? 1 : 0;
  if (rule.hold != nullptr && rule.hold[image] != 0) return;
  from_planes(images, x, images.x + at);
  if (with_momentum) from_planes(images, momentum, rule.momentum + at);
  write_operand(images, image);
}

}  // namespace

void start(const Images& images, const StartRule& rule, rt::Stream stream) {
  check_images(images, "start");
  if (images.x == nullptr || images.x0 == nullptr) refuse("start", "x and x0 are needed");
  if (rule.kind != StartRule::Kind::clean && (rule.eps == nullptr || rule.seed == nullptr || rule.sample_indices == nullptr || rule.restart == nullptr))
    refuse("start", "eps, seed, sample_indices and restart are needed");
  cpu::submit(stream, [=] {
    std::vector<float> scratch;
    for (std::int64_t image = 0; image < live_images(images); ++image) start_image(images, rule, image, scratch);
  });
}

std::int64_t step_scratch_doubles(std::int64_t images, std::int64_t) { return images; }

void step(const Images& images, const StepRule& rule, rt::Stream stream) {
  check_images(images, "step");
  if (images.x == nullptr || images.x0 == nullptr || rule.gradient == nullptr || rule.alpha == nullptr || rule.eps == nullptr)
    refuse("step", "x, x0, gradient, alpha and eps are needed");
  // Not needed here, but part of the contract.
  if (rule.kind != StepRule::Kind::linf && rule.sums == nullptr) refuse("step", "sums is needed for a norm: step_scratch_doubles() of them");
  if (rule.kind == StepRule::Kind::momentum && rule.momentum == nullptr) refuse("step", "momentum is needed");
  cpu::submit(stream, [=] {
    std::vector<float> scratch;
    for (std::int64_t image = 0; image < live_images(images); ++image) step_image(images, rule, image, scratch);
  });
}

}  // namespace signstep::kernels
