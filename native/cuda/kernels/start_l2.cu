// x = clamp(x0 + z * r / |z|), z Gaussian: uniform in the L2 ball or on its sphere (start_l2 of signstep.h). |z| must be known before the
// first pixel is moved; z is drawn twice, which needs no memory and at 50 instructions an element costs about what storing it would.
#include "ball.cuh"
#include "gaussian.cuh"
#include "image_walk.cuh"
#include "ordered_sum.cuh"
#include "random_group.cuh"
#include "start_rules.h"

namespace signstep::kernels {
namespace {

// The sums of an image's runs lie at the beginning of its x, which is not written before they have been used. Images of a single run need none.
__device__ __forceinline__ double* sums_of(const Images& images, const ImageWalk& walk, std::uint32_t image) {
  const auto address = reinterpret_cast<std::uintptr_t>(images.x + static_cast<std::int64_t>(image) * walk.elements);
  return reinterpret_cast<double*>((address + 7) & ~std::uintptr_t{7});
}

// r / |z|
__device__ __forceinline__ float stretch(const StartRule& rule, std::uint32_t image, std::uint32_t elements, double squares) {
  double radius = static_cast<double>(rule.eps[image]);
  if (rule.kind == StartRule::Kind::l2_ball) {
    // Volume grows with radius^elements.
    const PhiloxBlock block = philox_block(stream_of(rule, image, SIGNSTEP_PURPOSE_BALL_RADIUS), 0);
    const double u = __dmul_rn(static_cast<double>((block.word[0] >> 8) + 1), 0x1p-24);
    radius = __dmul_rn(radius, unit_root(u, elements));
  }
  return shrink_factor(radius, __dsqrt_rn(squares));
}

__device__ __forceinline__ void gaussian_block(const PhiloxStream& stream, std::uint32_t element, float (&z)[4]) {
  const PhiloxBlock block = philox_block(stream, element / 4);
  z[0] = gaussian_number(block.word[0], block.word[1], false);
  z[1] = gaussian_number(block.word[0], block.word[1], true);
  z[2] = gaussian_number(block.word[2], block.word[3], false);
  z[3] = gaussian_number(block.word[2], block.word[3], true);
}

__global__ void __launch_bounds__(kSumThreads) measure_gaussian(const Images images, const StartRule rule, const ImageWalk walk,
                                                                std::uint32_t runs) {
  const std::uint32_t image = blockIdx.x / runs, run = blockIdx.x - image * runs;
  if (!is_live(walk.live, image)) return;
  const PhiloxStream stream = stream_of(rule, image, SIGNSTEP_PURPOSE_GAUSSIAN_START);
  const std::uint32_t begin = run * kSumRun, end = walk.elements - begin < kSumRun ? walk.elements : begin + kSumRun;
  const double sum = ordered_run_sum(shared_cast<double>(dynamic_shared()), begin, end, [&](std::uint32_t first, double(&term)[4]) {
    float z[4];
    gaussian_block(stream, first, z);
#pragma unroll
    for (std::uint32_t i = 0; i < 4; i++) {
      const double wide = static_cast<double>(z[i]);
      term[i] = first + i < end ? __dmul_rn(wide, wide) : 0.0;
    }
  });
  if (threadIdx.x != kSumLoaders) return;
  if (runs == 1)
    rule.norms[image] = stretch(rule, image, walk.elements, sum);
  else
    sums_of(images, walk, image)[run] = sum;
}

// A warp an image.
__global__ void __launch_bounds__(32) conclude_gaussian(const Images images, const StartRule rule, const ImageWalk walk, std::uint32_t runs) {
  const std::uint32_t image = blockIdx.x;
  if (!is_live(walk.live, image)) return;
  const double squares = sum_of_runs(sums_of(images, walk, image), runs);
  if (threadIdx.x == 0) rule.norms[image] = stretch(rule, image, walk.elements, squares);
}

template <class T, int kWidth>
__global__ void __launch_bounds__(kWalkThreads) start_l2_kernel(const Images images, const StartRule rule, const ImageLayout layout,
                                                                const ImageWalk walk) {
  const WalkPlace place = walk_place(walk);
  if (!is_live(walk.live, place.image)) return;
  WalkValues x;
  load_groups<kWidth != 1>(images.x0, walk, place, x);
  const PhiloxStream stream = stream_of(rule, place.image, SIGNSTEP_PURPOSE_GAUSSIAN_START);
  const float factor = rule.norms[place.image];
#pragma unroll
  for (int g = 0; g < kWalkGroups; g++) {
    const std::uint32_t at = place.first + static_cast<std::uint32_t>(g) * kWalkStride;
    if (at >= walk.elements) continue;
    float z[4];
    random_group<kWidth>(
        stream, layout, at, [](std::uint32_t even, std::uint32_t odd, bool is_odd) { return gaussian_number(even, odd, is_odd); }, z);
#pragma unroll
    for (int i = 0; i < 4; i++) x[g][i] = clamp_pixel(__fadd_rn(x[g][i], __fmul_rn(factor, z[i])));
  }
  store_iterate<T, kWidth != 1>(images, walk, place, x);
}

}  // namespace

void start_l2(const Images& images, const StartRule& rule, const ImageWalk& walk, rt::Stream stream) {
  const auto runs = static_cast<std::uint32_t>(sum_runs(images.elements()));
  launch("measure_gaussian", measure_gaussian, dim3(walk.images * runs), dim3(kSumThreads), kSumBuffer, stream, images, rule, walk, runs);
  if (runs > 1) launch("conclude_gaussian", conclude_gaussian, dim3(walk.images), dim3(32), 0, stream, images, rule, walk, runs);
  const bool aligned = aligned_groups(images, images.x, images.x0, images.operand);
  with_element(images.precision, [&]<class T>(Element<T>) {
    with_neighbours(images, aligned, [&]<int kWidth>(Count<kWidth>) {
      launch("start_l2", start_l2_kernel<T, kWidth>, walk.grid(), dim3(kWalkThreads), 0, stream, images, rule, ImageLayout(images), walk);
    });
  });
}

}  // namespace signstep::kernels
