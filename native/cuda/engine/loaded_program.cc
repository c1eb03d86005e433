#include "loaded_program.h"

#include <algorithm>
#include <cstring>

#include "images.h"

namespace signstep::engine {
namespace {

constexpr std::int64_t kLargestAutomaticBatch = 256;
// One runs while the next batch is uploaded.
constexpr std::size_t kAttacks = 2;

void require_e4m3(int device) {
  const rt::DeviceInfo info = rt::device_info(device);
  if (kernels::has_e4m3(info.compute_capability)) return;
  const std::string capability = info.compute_capability == 0 ? "" : " of compute capability " + std::to_string(info.compute_capability / 10) + "." +
                                                                         std::to_string(info.compute_capability % 10);
  throw rt::Failure{rt::Failure::Kind::unavailable, "precision fp8: expected compute capability 8.9, 9.0 or 12.x, found " + std::string(info.name) +
                                                        capability + "; it has " + (capability.empty() ? "bf16" : "bf16, fp16 and float32")};
}

}  // namespace

LoadedProgram::LoadedProgram(int device, std::int64_t batch, kernels::Precision precision, bool e4m3, const void* plan, std::size_t bytes)
    : plan_(static_cast<const std::uint8_t*>(plan), static_cast<const std::uint8_t*>(plan) + bytes),
      program_(program::parse_plan(plan_.data(), plan_.size())),
      device_(device),
      precision_(precision),
      e4m3_(e4m3) {
  rt::use_device(device);
  if (e4m3) {
    require_e4m3(device);
    products_ = choose_e4m3_products(program_, program_.gradient);
  }
  stream_ = std::make_unique<OwnedStream>();
  copies_ = std::make_unique<OwnedStream>();
  if (batch > 0) {
    load(batch);
    return;
  }
  // What is planned must fit, with room beside it; what the plan does not know (constants, fragments, other processes) is found by trying.
  const std::uint64_t room = rt::device_info(device).free_memory / 5 * 4;
  std::int64_t candidate = kLargestAutomaticBatch;
  const auto need = [&](std::int64_t b) {
    return plan_memory(program_, program_.gradient, b, kernels::bytes_of(precision), products_.operands).bytes +
           plan_memory(program_, program_.forward, b, 4).bytes +
           ForwardPass::device_bytes(b, elements()) + kAttacks * AttackBuffers::device_bytes(b, elements(), reference_classes());
  };
  while (candidate > 1 && need(candidate) > room) candidate /= 2;
  for (;; candidate /= 2) {
    try {
      load(candidate);
      return;
    } catch (const rt::Failure& failure) {
      if (failure.kind != rt::Failure::Kind::out_of_memory || candidate == 1) throw;
    }
  }
}

LoadedProgram::~LoadedProgram() {
  try {
    rt::use_device(device_);
  } catch (const rt::Failure&) {
    // Of a lost device: memory and streams are given back all the same.
  }
}

std::int64_t LoadedProgram::elements() const { return elements_of(program_.header); }

std::int64_t LoadedProgram::reference_classes() const {
  return program_.header.loss == program::Loss::kl ? static_cast<std::int64_t>(program_.header.classes) : 0;
}

// With the memory of the attacks, so that a batch that is too large shows here and not when the second of them begins.
void LoadedProgram::load(std::int64_t batch) {
  spare_.clear();
  gradient_.reset();
  forward_.reset();
  batch_ = batch;
  gradient_ = std::make_unique<Instance>(program_, program_.gradient, precision_, batch, products_, stream());
  forward_ = std::make_unique<ForwardPass>(program_, batch, stream());
  while (spare_.size() < kAttacks) spare_.push_back(std::make_unique<AttackBuffers>(batch, elements(), reference_classes()));
}

std::unique_ptr<AttackBuffers> LoadedProgram::take_buffers() {
  {
    const std::lock_guard lock(mutex_);
    if (!spare_.empty()) {
      std::unique_ptr<AttackBuffers> buffers = std::move(spare_.back());
      spare_.pop_back();
      return buffers;
    }
  }
  return std::make_unique<AttackBuffers>(batch_, elements(), reference_classes());
}

void LoadedProgram::give_back(std::unique_ptr<AttackBuffers> buffers) {
  const std::lock_guard lock(mutex_);
  if (spare_.size() < kAttacks) spare_.push_back(std::move(buffers));
}

}  // namespace signstep::engine
