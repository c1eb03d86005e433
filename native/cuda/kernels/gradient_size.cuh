// The first pass of a step that needs the size of the gradient: sums over its runs, and a conclusion an image.
#pragma once

#include <cstdint>

#include "image_layout.cuh"
#include "image_walk.cuh"
#include "pixel.cuh"
#include "step_scratch.cuh"

namespace signstep::kernels {

// What is added up.
struct Squares {
  static __device__ __forceinline__ double of(float g) { return __dmul_rn(static_cast<double>(g), static_cast<double>(g)); }
};
struct Magnitudes {
  static __device__ __forceinline__ double of(float g) { return static_cast<double>(fabsf(g)); }
};

// What becomes of the sum: native/core/steps/step_l2.cc and step_momentum.cc say why the bounds.
struct Norm {
  static __device__ __forceinline__ float of(double sum, std::uint32_t) {
    const double norm = __dsqrt_rn(sum);
    constexpr double most = 3.4028234663852886e38;
    return static_cast<float>(norm < 1e-12 ? 1e-12 : most < norm ? most : norm);
  }
};
struct Mean {
  static __device__ __forceinline__ float of(double sum, std::uint32_t elements) {
    const float mean = static_cast<float>(__ddiv_rn(sum, static_cast<double>(elements))), least = 0x1p-126f;
    return mean < least ? least : mean;
  }
};

inline constexpr std::size_t kMeasureShared = kSumBuffer + kSumLoaders / 32 * sizeof(int2);

template <class Term, int kWidth>
__global__ void __launch_bounds__(kSumThreads) measure_gradient(const float* gradient, const StepScratch scratch, const ImageLayout layout,
                                                                const ImageWalk walk) {
  const std::uint32_t image = blockIdx.x / scratch.runs, run = blockIdx.x - image * scratch.runs;
  if (!is_live(walk.live, image)) return;
  const Shared<std::uint8_t> memory = dynamic_shared();
  const Shared<int2> warp_counts = shared_cast<int2>(memory + kSumBuffer);
  const float* g = gradient + static_cast<std::int64_t>(image) * walk.elements;
  const std::uint32_t begin = run * kSumRun, end = walk.elements - begin < kSumRun ? walk.elements : begin + kSumRun;

  int useless = 0;
  bool nonzero = false;
  const double sum = ordered_run_sum(shared_cast<double>(memory), begin, end, [&](std::uint32_t first, double(&term)[4]) {
    float value[4];
    in_layout<kWidth>(layout, first).load(g, first, walk.elements, value);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const bool no_use = is_not_finite(value[i]);
      useless += no_use ? 1 : 0;
      nonzero = nonzero || value[i] != 0.0f;
      term[i] = no_use ? 0.0 : Term::of(value[i]);
    }
  });

#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) useless += __shfl_xor_sync(0xFFFFFFFFu, useless, distance);
  nonzero = __any_sync(0xFFFFFFFFu, nonzero);
  const int thread = static_cast<int>(threadIdx.x);
  if (thread % 32 == 0 && thread < kSumLoaders) warp_counts[thread / 32] = make_int2(useless, nonzero ? 1 : 0);
  __syncthreads();
  if (thread != kSumLoaders) return;
  int2 total = make_int2(0, 0);
  for (int warp = 0; warp < kSumLoaders / 32; warp++) {
    const int2 own = warp_counts[warp];
    total.x += own.x;
    total.y |= own.y;
  }
  scratch.sums[blockIdx.x] = sum;
  scratch.counts[blockIdx.x] = total;
}

// A warp an image.
template <class Size>
__global__ void __launch_bounds__(32) conclude_gradient(const StepRule rule, const StepScratch scratch, const ImageWalk walk) {
  const std::uint32_t image = blockIdx.x, lane = threadIdx.x;
  if (!is_live(walk.live, image)) return;
  const std::int64_t first = static_cast<std::int64_t>(image) * scratch.runs;
  const double sum = sum_of_runs(scratch.sums + first, scratch.runs);
  int nan = 0;
  bool nonzero = false;
  for (std::uint32_t run = lane; run < scratch.runs; run += 32) {
    const int2 count = scratch.counts[first + run];
    nan += count.x;
    nonzero = nonzero || count.y != 0;
  }
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) nan += __shfl_xor_sync(0xFFFFFFFFu, nan, distance);
  nonzero = __any_sync(0xFFFFFFFFu, nonzero);
  if (lane != 0) return;
  scratch.lengths[image].x = Size::of(sum, walk.elements);
  if (rule.nan_count != nullptr) rule.nan_count[image] = nan;
  if (rule.nonzero != nullptr) rule.nonzero[image] = nonzero ? 1 : 0;
}

// scratch.lengths[image].x = Size of the sum of Terms; fills the report about the gradient.
template <class Term, class Size>
void launch_gradient_size(const Images& images, const StepRule& rule, const StepScratch& scratch, const ImageLayout& layout, const ImageWalk& walk,
                          rt::Stream stream) {
  with_neighbours(images, aligned16(rule.gradient), [&]<int kWidth>(Count<kWidth>) {
    launch("measure_gradient", measure_gradient<Term, kWidth>, dim3(walk.images * scratch.runs), dim3(kSumThreads), kMeasureShared, stream,
           rule.gradient, scratch, layout, walk);
  });
  launch("conclude_gradient", conclude_gradient<Size>, dim3(walk.images), dim3(32), 0, stream, rule, scratch, walk);
}

}  // namespace signstep::kernels
