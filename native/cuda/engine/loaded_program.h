// A plan on a device: the gradient in the attack's precision, the forward in float32 accuracy, and memory for two attacks: one runs while
// the next batch is uploaded.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "../../core/program/program.h"
#include "attack_buffers.h"
#include "forward_pass.h"
#include "instance.h"

namespace signstep::engine {

class LoadedProgram {
 public:
  // Throws PlanError, rt::Failure. `e4m3`: products of the attack's passes in it, values in bf16. batch 0: the largest power of two up to 256 that fits in four fifths of the free memory.
  LoadedProgram(int device, std::int64_t batch, kernels::Precision precision, bool e4m3, const void* plan, std::size_t bytes);
  ~LoadedProgram();

  const program::Header& header() const { return program_.header; }
  const program::Program& program() const { return program_; }
  int device() const { return device_; }
  std::int64_t batch() const { return batch_; }
  std::int64_t elements() const;
  kernels::Precision precision() const { return precision_; }  // of values
  bool e4m3() const { return e4m3_; }
  std::uint64_t bytes() const { return gradient_->bytes() + forward_->bytes(); }
  Instance& gradient() { return *gradient_; }
  ForwardPass& forward() { return *forward_; }
  rt::Stream stream() const { return stream_->get(); }
  rt::Stream copies() const { return copies_->get(); }

  // These two by any thread.
  std::unique_ptr<AttackBuffers> take_buffers();
  void give_back(std::unique_ptr<AttackBuffers> buffers);

  // Whose images lie in the gradient's input; compared by the attacks, which write theirs when it is another's.
  const void* operand_owner = nullptr;

 private:
  void load(std::int64_t batch);
  std::int64_t reference_classes() const;

  std::vector<std::uint8_t> plan_;
  program::Program program_;
  int device_;
  std::int64_t batch_ = 0;
  kernels::Precision precision_;
  bool e4m3_;
  E4m3Products products_;  // none of them unless e4m3
  std::unique_ptr<OwnedStream> stream_, copies_;
  std::unique_ptr<Instance> gradient_;
  std::unique_ptr<ForwardPass> forward_;
  std::mutex mutex_;  // of spare_
  std::vector<std::unique_ptr<AttackBuffers>> spare_;
};

}  // namespace signstep::engine
