// Logits in float32 accuracy, whatever precision the attack runs in: what is reported comes from here.
#pragma once

#include <cstdint>

#include "device_memory.h"
#include "instance.h"

namespace signstep::engine {

class ForwardPass {
 public:
  // `program` must outlive it.
  ForwardPass(const program::Program& program, std::int64_t batch, rt::Stream stream);

  // Logits [count, classes] of images [count, C, H, W]. Throws rt::Failure.
  void logits(std::uint32_t count, const float* images, float* out, rt::Stream stream);

  // The same in two halves: `input` [batch, elements] float32 in the program's layout is filled by the caller, `live` says of how many.
  float* input() const { return static_cast<float*>(instance_.input()); }
  float* run(const std::int32_t* live, rt::Stream stream);
  // After `run`, to the host; waits for it.
  void download(std::int64_t count, float* out, rt::Stream stream);

  std::uint64_t bytes() const { return instance_.bytes(); }
  // Beside its constants and activations.
  static std::uint64_t device_bytes(std::int64_t batch, std::int64_t elements);

 private:
  const program::Program& program_;
  std::int64_t batch_;
  Instance instance_;
  Mirrored<float> planes_;
  Mirrored<std::int32_t> live_;
  PinnedArray<float> logits_;
};

}  // namespace signstep::engine
