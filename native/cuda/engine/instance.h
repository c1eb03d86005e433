// A program in one precision: its constants on the device and the memory for one pass over its forward or its gradient steps.
#pragma once

#include <cstdint>
#include <vector>

#include "../../core/program/program.h"
#include "../kernels/kernels.h"
#include "device_memory.h"
#include "e4m3_products.h"
#include "run_step.h"

namespace signstep::engine {

class Instance {
 public:
  // Converts and transposes the constants that `steps` use on the device. `program` must outlive the instance. `e4m3`: the products that
  // multiply in it; their weights are quantised here, in the orientation they have.
  Instance(const program::Program& program, const std::vector<program::Step>& steps, kernels::Precision precision, std::int64_t batch,
           const E4m3Products& e4m3, rt::Stream stream);

  void* input() const { return pointers_[static_cast<std::size_t>(program_.header.input)]; }
  float* logits() const { return static_cast<float*>(pointers_[static_cast<std::size_t>(program_.header.logits)]); }
  float* image_gradient() const { return static_cast<float*>(pointers_[static_cast<std::size_t>(program_.header.image_gradient)]); }
  kernels::Precision precision() const { return precision_; }
  const std::vector<program::Step>& steps() const { return steps_; }
  Pass pass(const std::int32_t* live) const;
  std::uint64_t bytes() const { return bytes_; }

 private:
  void quantise_weights(const E4m3Products& chosen, const program::MemoryPlan& plan, DeviceArray<float>& staging, rt::Stream stream);

  const program::Program& program_;
  const std::vector<program::Step>& steps_;
  kernels::Precision precision_;
  std::int64_t batch_;
  std::vector<DeviceArray<std::byte>> constants_;
  DeviceArray<std::byte> activations_;
  std::vector<void*> pointers_;
  std::vector<E4m3Operands> e4m3_;  // one a step, or none
  std::uint64_t bytes_ = 0;
};

}  // namespace signstep::engine
