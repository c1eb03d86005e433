// x = clamp(project(x + alpha * gradient / |gradient|)), projected radially onto the L2 ball around x0 (step_l2 of signstep.h). Three passes:
// the norm of the gradient, the move with the distance it leads to, the projection.
#include "ball.cuh"
#include "gradient_size.cuh"
#include "step_rules.h"

namespace signstep::kernels {
namespace {

__device__ __forceinline__ bool moves(const StepRule& rule, const ImageWalk& walk, std::uint32_t image) {
  return is_live(walk.live, image) && (rule.hold == nullptr || rule.hold[image] == 0);
}

// x += alpha * (gradient / norm), unclamped; sums: (x - x0)^2 of each run.
template <int kWidth>
__global__ void __launch_bounds__(kSumThreads) move_l2(float* iterates, const float* centres, const StepRule rule, const StepScratch scratch,
                                                       const ImageLayout layout, const ImageWalk walk) {
  const std::uint32_t image = blockIdx.x / scratch.runs, run = blockIdx.x - image * scratch.runs;
  if (!moves(rule, walk, image)) return;
  const std::int64_t offset = static_cast<std::int64_t>(image) * walk.elements;
  float* const x = iterates + offset;
  const float *const x0 = centres + offset, *const gradient = rule.gradient + offset;
  const float move = rule.alpha[image], norm = scratch.lengths[image].x;
  const std::uint32_t begin = run * kSumRun, end = walk.elements - begin < kSumRun ? walk.elements : begin + kSumRun;
  const double sum = ordered_run_sum(shared_cast<double>(dynamic_shared()), begin, end, [&](std::uint32_t first, double(&term)[4]) {
    const Scattered<kWidth> group = in_layout<kWidth>(layout, first);
    float g[4], moved[4], centre[4];
    group.load(gradient, first, walk.elements, g);
    group.load(x, first, walk.elements, moved);
    group.load(x0, first, walk.elements, centre);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      moved[i] = __fadd_rn(moved[i], is_not_finite(g[i]) ? 0.0f : __fmul_rn(move, __fdiv_rn(g[i], norm)));
      const double away = __dsub_rn(static_cast<double>(moved[i]), static_cast<double>(centre[i]));
      term[i] = __dmul_rn(away, away);
    }
    group.store(x, first, walk.elements, moved);
  });
  if (threadIdx.x == kSumLoaders) scratch.sums[blockIdx.x] = sum;
}

// A warp an image: the factor of the projection; 1: inside the ball, nothing to project.
__global__ void __launch_bounds__(32) conclude_distance(const StepRule rule, const StepScratch scratch, const ImageWalk walk) {
  const std::uint32_t image = blockIdx.x;
  if (!moves(rule, walk, image)) return;
  const double distance = __dsqrt_rn(sum_of_runs(scratch.sums + static_cast<std::int64_t>(image) * scratch.runs, scratch.runs));
  if (threadIdx.x != 0) return;
  const double eps = static_cast<double>(rule.eps[image]);
  scratch.lengths[image].y = eps >= 0 && distance > eps ? shrink_factor(eps, distance) : 1.0f;
}

template <class T, bool kWide>
__global__ void __launch_bounds__(kWalkThreads) project_l2(const Images images, const StepRule rule, const StepScratch scratch, const ImageWalk walk) {
  const WalkPlace place = walk_place(walk);
  if (!moves(rule, walk, place.image)) return;
  const float factor = scratch.lengths[place.image].y;
  WalkValues x;
  load_groups<kWide>(images.x, walk, place, x);
  if (factor != 1.0f) {
    WalkValues x0;
    load_groups<kWide>(images.x0, walk, place, x0);
#pragma unroll
    for (int g = 0; g < kWalkGroups; g++) {
#pragma unroll
      for (int i = 0; i < 4; i++) x[g][i] = __fadd_rn(x0[g][i], __fmul_rn(factor, __fsub_rn(x[g][i], x0[g][i])));
    }
  }
#pragma unroll
  for (int g = 0; g < kWalkGroups; g++) {
#pragma unroll
    for (int i = 0; i < 4; i++) x[g][i] = clamp_pixel(x[g][i]);
  }
  store_iterate<T, kWide>(images, walk, place, x);
}

}  // namespace

void step_l2(const Images& images, const StepRule& rule, const ImageWalk& walk, rt::Stream stream) {
  const StepScratch scratch = step_scratch(rule.sums, images.images, images.elements());
  const ImageLayout layout(images);
  launch_gradient_size<Squares, Norm>(images, rule, scratch, layout, walk, stream);
  const bool aligned = aligned16(images.x) && aligned16(images.x0) && aligned16(rule.gradient);
  with_neighbours(images, aligned, [&]<int kWidth>(Count<kWidth>) {
    launch("move_l2", move_l2<kWidth>, dim3(walk.images * scratch.runs), dim3(kSumThreads), kSumBuffer, stream, images.x, images.x0, rule, scratch,
           layout, walk);
  });
  launch("conclude_distance", conclude_distance, dim3(walk.images), dim3(32), 0, stream, rule, scratch, walk);
  with_access(images, aligned_groups(images, images.x, images.x0, images.operand), [&]<class T, bool kWide>(Element<T>, Flag<kWide>) {
    launch("project_l2", project_l2<T, kWide>, walk.grid(), dim3(kWalkThreads), 0, stream, images, rule, scratch, walk);
  });
}

}  // namespace signstep::kernels
