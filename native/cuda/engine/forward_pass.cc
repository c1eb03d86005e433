#include "forward_pass.h"

#include <algorithm>
#include <cstring>

#include "images.h"

namespace signstep::engine {

ForwardPass::ForwardPass(const program::Program& program, std::int64_t batch, rt::Stream stream)
    : program_(program),
      batch_(batch),
      instance_(program, program.forward, kernels::Precision::float32, batch, E4m3Products{}, stream),
      planes_(static_cast<std::size_t>(batch * elements_of(program.header))),
      live_(1),
      logits_(static_cast<std::size_t>(batch * program.header.classes)) {}

std::uint64_t ForwardPass::device_bytes(std::int64_t batch, std::int64_t elements) {
  return static_cast<std::uint64_t>(batch * elements) * sizeof(float);
}

void ForwardPass::logits(std::uint32_t count, const float* images, float* out, rt::Stream stream) {
  if (count == 0 || count > batch_) refuse("count: expected 1 to " + std::to_string(batch_) + " images, found " + std::to_string(count));
  const std::int64_t elements = elements_of(program_.header);
  check_finite(images, count, elements);
  const auto all = static_cast<std::size_t>(count * elements);
  std::copy(images, images + all, planes_.host());
  planes_.upload(all, stream);
  *live_.host() = static_cast<std::int32_t>(count);
  live_.upload(1, stream);
  kernels::Images into = images_like(program_.header, batch_, kernels::Precision::float32, live_.data());
  into.x = input();
  kernels::import_images(into, input(), planes_.data(), stream);
  run(live_.data(), stream);
  download(count, out, stream);
}

float* ForwardPass::run(const std::int32_t* live, rt::Stream stream) {
  const Pass pass = instance_.pass(live);
  for (std::size_t i = 0; i < instance_.steps().size(); ++i) run_step(pass, instance_.steps()[i], i, stream);
  return instance_.logits();
}

void ForwardPass::download(std::int64_t count, float* out, rt::Stream stream) {
  const auto bytes = static_cast<std::size_t>(count * program_.header.classes) * sizeof(float);
  rt::download(logits_.data(), instance_.logits(), bytes, stream);
  rt::synchronize(stream);
  std::memcpy(out, logits_.data(), bytes);
}

}  // namespace signstep::engine
