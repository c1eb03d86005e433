// One batch under attack on a device.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "../../include/signstep/engine.h"
#include "loaded_program.h"

namespace signstep::engine {

class Attack {
 public:
  // Uploads the batch on the copy stream, beside what the device is doing.
  Attack(LoadedProgram& program, const signstep_images& batch);
  ~Attack();

  std::int64_t count() const { return count_; }
  void start(const signstep_start_rule& rule);
  // False: cancelled; the steps before were made.
  bool steps(const signstep_step_rule& rule, std::uint32_t steps, signstep_step_results* results, const volatile std::int32_t* cancel);
  void score(float* loss, std::int32_t* predictions, float* logits);
  void images(const std::int32_t* rows, std::uint32_t count, float* out);
  void best(float* images, float* loss);
  void gradient(float* out);
  void keep(const std::int32_t* rows, std::uint32_t count);

 private:
  kernels::Images device_images() const;
  void own_operand();
  void run_gradient(std::uint32_t slot, const volatile std::int32_t* cancel, bool* cancelled, const signstep_step_rule* rule);
  void launch_graph(const signstep_step_rule& rule, std::uint32_t steps);
  void collect(std::uint32_t from, std::uint32_t chunk, const signstep_step_results& results);
  void download_planes(const float* from, const std::int32_t* rows, std::uint32_t count, float* out);
  void upload_floats(DeviceArray<float>& to, const float* values, float factor, float absent);
  bool fuses(const signstep_step_rule& rule) const;

  LoadedProgram& program_;
  std::unique_ptr<AttackBuffers> buffers_;
  std::int64_t count_;
  bool targeted_;
  bool momentum_started_ = false;
  bool best_started_ = false;
};

// Logits in float32 accuracy, [count, classes].
void forward(LoadedProgram& program, std::uint32_t count, const float* images, float* logits);

}  // namespace signstep::engine
