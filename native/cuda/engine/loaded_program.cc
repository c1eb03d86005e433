#include "loaded_program.h"

#include <algorithm>
#include <cstring>

namespace signstep::engine {
namespace {

constexpr std::int64_t kLargestAutomaticBatch = 256;

}  // namespace

LoadedProgram::LoadedProgram(int device, std::int64_t batch, kernels::Precision precision, const void* plan, std::size_t bytes)
    : plan_(static_cast<const std::uint8_t*>(plan), static_cast<const std::uint8_t*>(plan) + bytes),
      program_(program::parse_plan(plan_.data(), plan_.size())),
      device_(device),
      precision_(precision) {
  rt::use_device(device);
  stream_ = std::make_unique<OwnedStream>();
  copies_ = std::make_unique<OwnedStream>();
  if (batch > 0) {
    load(batch);
    return;
  }
  // What is planned must fit, with room for attacks beside it; what the plan does not know (fragments, other processes) is found by trying.
  const std::uint64_t room = rt::device_info(device).free_memory / 5 * 4;
  std::int64_t candidate = kLargestAutomaticBatch;
  const auto need = [&](std::int64_t b) {
    return plan_memory(program_, program_.gradient, b, kernels::bytes_of(precision)).bytes + plan_memory(program_, program_.forward, b, 4).bytes +
           static_cast<std::uint64_t>(b * elements()) * 4 * 5;
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
  rt::use_device(device_);
}

std::int64_t LoadedProgram::elements() const {
  const program::Header& header = program_.header;
  return static_cast<std::int64_t>(header.channels) * header.height * header.width;
}

void LoadedProgram::load(std::int64_t batch) {
  gradient_.reset();
  forward_.reset();
  batch_ = batch;
  gradient_ = std::make_unique<Instance>(program_, program_.gradient, precision_, batch, stream());
  forward_ = std::make_unique<Instance>(program_, program_.forward, kernels::Precision::float32, batch, stream());
}

std::unique_ptr<AttackBuffers> LoadedProgram::take_buffers() {
  if (spare_.empty()) return std::make_unique<AttackBuffers>(batch_, elements(), header().loss == program::Loss::kl ? header().classes : 0);
  std::unique_ptr<AttackBuffers> buffers = std::move(spare_.back());
  spare_.pop_back();
  return buffers;
}

void LoadedProgram::give_back(std::unique_ptr<AttackBuffers> buffers) {
  // Two sets serve a pipeline: one attack runs while the next batch is uploaded.
  constexpr std::size_t kSpare = 2;
  if (spare_.size() < kSpare) spare_.push_back(std::move(buffers));
}

}  // namespace signstep::engine
