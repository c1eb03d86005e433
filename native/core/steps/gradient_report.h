// What is reported about each sample's gradient.
#pragma once

#include <vector>

#include "../parallel/run_passes.h"
#include "signstep/signstep.h"

namespace signstep {

inline Batch batch_of(const signstep_step& step) { return {step.count, step.elements, step.cancel}; }

// eps as the kernels take it: an infinite ball projects nothing.
inline float projection_radius(float eps) { return eps < 0 ? __builtin_inff() : eps; }

// Adds up the counts of a sample's runs and fills nan_counts and zero_flags.
inline void report_gradient(const signstep_step& step, std::size_t sample, const GradientCounts* runs, std::size_t count) {
  GradientCounts total;
  for (std::size_t i = 0; i < count; ++i) {
    total.nan += runs[i].nan;
    total.nonzero += runs[i].nonzero;
  }
  if (step.nan_counts != nullptr) step.nan_counts[sample] = static_cast<std::int32_t>(total.nan);
  if (step.zero_flags != nullptr) step.zero_flags[sample] = total.nonzero == 0 ? 1 : 0;
}

// The sums of one pass over the gradient.
class GradientSums {
 public:
  explicit GradientSums(const signstep_step& step)
      : step_(step), runs_(batch_of(step).runs()), sums_(step.count * runs_), counts_(step.count * runs_) {}

  void set(const Run& run, const GradientSum& result) {
    sums_[run.index] = result.sum;
    counts_[run.index] = result.counts;
  }
  // The sum over the sample; reports its counts.
  double conclude(std::size_t sample) const {
    report_gradient(step_, sample, counts_.data() + sample * runs_, runs_);
    double total = 0;
    for (std::size_t i = 0; i < runs_; ++i) total += sums_[sample * runs_ + i];
    return total;
  }

 private:
  const signstep_step& step_;
  std::size_t runs_;
  std::vector<double> sums_;
  std::vector<GradientCounts> counts_;
};

}  // namespace signstep
