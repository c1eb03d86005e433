// What an instruction set has to offer: each kernel works on one run of at most kRun elements of one sample. One table per
// instruction set (instruction_sets/*.cc), all filled from the same templates (kernels/*.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "philox.h"

namespace signstep {

// Elements worked on at a time: the grain of parallel work, of cancellation and of sums (so it is part of their definition). A multiple
// of 64, so that each run starts on a whole group of Philox blocks. 16,384 float32 are 64 KiB: four arrays of them stay in L2, and
// a run takes some 10 microseconds, a hundred times what handing it to a thread costs.
inline constexpr std::size_t kRun = 16384;

struct GradientCounts {
  std::int64_t nan = 0;
  std::int64_t nonzero = 0;  // NaN included
};

struct GradientSum {
  double sum = 0;
  GradientCounts counts;
};

struct Distance {
  float largest = 0;
  double squares = 0;
};

struct KernelTable {
  const char* name;

  // out = clamp(x0 + (2u - 1)·radius)
  void (*start_uniform)(float* out, const float* x0, std::size_t n, float radius, const PhiloxStream& stream, std::size_t first);
  // out = Gaussian numbers; returns the sum of their squares
  double (*gaussian)(float* out, std::size_t n, const PhiloxStream& stream, std::size_t first);
  // out = clamp(x0 + factor·out)
  void (*start_l2)(float* out, const float* x0, std::size_t n, float factor);

  // x = clamp(project(x + move·sign(g))); eps = infinity: no projection
  GradientCounts (*step_linf)(float* x, const float* x0, const float* g, std::size_t n, float move, float eps);

  // sum of |g|, and of g², over the finite elements
  GradientSum (*sum_magnitudes)(const float* g, std::size_t n);
  GradientSum (*sum_squares)(const float* g, std::size_t n);
  // x += move·(g/norm), unclamped; returns the sum of (x - x0)²
  double (*move_l2)(float* x, const float* x0, const float* g, std::size_t n, float move, float norm);
  // x = clamp(x0 + factor·(x - x0))
  void (*project_l2)(float* x, const float* x0, std::size_t n, float factor);
  void (*clamp)(float* x, std::size_t n);

  // momentum = decay·momentum + g/mean; x = clamp(project(x + move·sign(momentum)))
  void (*step_momentum)(float* x, const float* x0, const float* g, float* momentum, std::size_t n, float move, float eps, float decay,
                        float mean);

  Distance (*distance)(const float* a, const float* b, std::size_t n);
};

}  // namespace signstep
