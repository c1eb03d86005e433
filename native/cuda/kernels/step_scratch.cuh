// How the steps that need a norm share StepRule::sums: per run the float64 sum and the counts of the gradient, per image two floats.
#pragma once

#include <cstdint>

#include "kernels.h"
#include "ordered_sum.cuh"

namespace signstep::kernels {

struct StepScratch {
  double* sums;     // [images, runs]
  int2* counts;     // [images, runs]: NaN (or infinite) elements; 1 where any element was not zero
  float2* lengths;  // [images]: norm or mean of the gradient; factor of the projection
  std::uint32_t runs;
};

inline StepScratch step_scratch(double* from, std::int64_t images, std::int64_t elements) {
  const std::int64_t runs = sum_runs(elements);
  static_assert(sizeof(int2) == sizeof(double) && sizeof(float2) == sizeof(double));
  return {from, reinterpret_cast<int2*>(from + images * runs), reinterpret_cast<float2*>(from + 2 * images * runs),
          static_cast<std::uint32_t>(runs)};
}

}  // namespace signstep::kernels
