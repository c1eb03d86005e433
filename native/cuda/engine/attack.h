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
  // Copies the batch and sends it off on the copy stream, without waiting: by any thread, beside what the program is doing.
  Attack(LoadedProgram& program, const signstep_images& batch);
  // What follows: by the program's thread.
  ~Attack();

  int device() const { return program_.device(); }
  void start(const signstep_start_rule& rule);
  // False: cancelled; the steps before were made.
  bool steps(const signstep_step_rule& rule, std::uint32_t steps, signstep_step_results* results, const volatile std::int32_t* cancel);
  void score(float* loss, std::int32_t* predictions, float* logits);
  void images(const std::int32_t* rows, std::uint32_t count, float* out);
  void best(float* images, float* loss);
  void gradient(float* out);
  void finished(const std::int32_t* positions, std::uint32_t count, float* out);

 private:
  void enter();
  kernels::Images device_images() const;
  void own_operand();
  void run_gradient(std::uint32_t slot, const volatile std::int32_t* cancel, bool* cancelled, const signstep_step_rule* rule);
  void run_rule(const signstep_step_rule& rule, const std::uint8_t* hold, std::int32_t* nan_count, std::int32_t* nonzero);
  void leave_out_fooled(std::uint32_t slot, const signstep_step_rule& rule);
  void launch_graph(const signstep_step_rule& rule, std::uint32_t steps);
  void collect(std::uint32_t from, std::uint32_t chunk, std::int64_t width, bool retire, signstep_step_results* results);
  void download_planes(const kernels::Images& like, const float* from, const std::int32_t* rows, std::uint32_t count, float* out);
  void send(Mirrored<float>& to, const float* values, float factor, float absent);
  bool fuses(const signstep_step_rule& rule) const;

  LoadedProgram& program_;
  std::unique_ptr<AttackBuffers> buffers_;
  std::int64_t count_;
  bool targeted_;
  bool arrived_ = false;  // the program's stream waits for the upload
  bool momentum_started_ = false;
  bool best_started_ = false;
  std::vector<bool> finished_;  // by position in the batch as it was begun
};

}  // namespace signstep::engine
