// x = clamp(x0 + (2u - 1) * (scale * eps)): the start of PGD, RS-FGSM and N-FGSM (start_uniform of signstep.h).
#include "image_walk.cuh"
#include "pixel.cuh"
#include "random_group.cuh"
#include "start_rules.h"

namespace signstep::kernels {
namespace {

template <class T, int kWidth>
__global__ void __launch_bounds__(kWalkThreads) start_uniform_kernel(const Images images, const StartRule rule, const ImageLayout layout,
                                                                     const ImageWalk walk) {
  const WalkPlace place = walk_place(walk);
  if (!is_live(walk.live, place.image)) return;
  WalkValues x;
  load_groups<kWidth != 1>(images.x0, walk, place, x);
  const PhiloxStream stream = stream_of(rule, place.image, SIGNSTEP_PURPOSE_UNIFORM_START);
  // 2u - 1 = ((word >> 8) - 2^23) * 2^-23: the power of two goes into the reach.
  const float reach = __fmul_rn(__fmul_rn(rule.scale, rule.eps[place.image]), 0x1p-23f);
#pragma unroll
  for (int g = 0; g < kWalkGroups; g++) {
    const std::uint32_t at = place.first + static_cast<std::uint32_t>(g) * kWalkStride;
    if (at >= walk.elements) continue;
    float u[4];
    random_group<kWidth>(
        stream, layout, at,
        [](std::uint32_t even, std::uint32_t odd, bool is_odd) {
          return __fsub_rn(static_cast<float>(static_cast<std::int32_t>((is_odd ? odd : even) >> 8)), 0x1p23f);
        },
        u);
#pragma unroll
    for (int i = 0; i < 4; i++) x[g][i] = clamp_pixel(__fadd_rn(x[g][i], __fmul_rn(u[i], reach)));
  }
  store_iterate<T, kWidth != 1>(images, walk, place, x);
}

}  // namespace

void start_uniform(const Images& images, const StartRule& rule, const ImageWalk& walk, rt::Stream stream) {
  const bool aligned = aligned_groups(images, images.x, images.x0, images.operand);
  with_element(images.precision, [&]<class T>(Element<T>) {
    with_neighbours(images, aligned, [&]<int kWidth>(Count<kWidth>) {
      launch("start_uniform", start_uniform_kernel<T, kWidth>, walk.grid(), dim3(kWalkThreads), 0, stream, images, rule, ImageLayout(images), walk);
    });
  });
}

}  // namespace signstep::kernels
