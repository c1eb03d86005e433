// Keeps the iterate of the best loss so far, per image.
#include "image_walk.cuh"

namespace signstep::kernels {
namespace {

// NaN is never better, and nothing is better than NaN.
__device__ __forceinline__ bool better(float value, float best, int direction) { return direction > 0 ? value > best : value < best; }

template <bool kWide>
__global__ void __launch_bounds__(kWalkThreads) remember_images(const float* x, const float* value, const float* best_value, float* best,
                                                                int direction, const ImageWalk walk) {
  const WalkPlace place = walk_place(walk);
  if (!is_live(walk.live, place.image) || !better(value[place.image], best_value[place.image], direction)) return;
  WalkValues pixels;
  load_groups<kWide>(x, walk, place, pixels);
  store_groups<kWide>(best, walk, place, pixels);
}

// A launch of its own: all blocks of an image must have compared before its best value changes.
__global__ void remember_values(const float* value, float* best_value, int direction, std::uint32_t images, const std::int32_t* live) {
  const std::uint32_t image = blockIdx.x * blockDim.x + threadIdx.x;
  if (image >= images || !is_live(live, image) || !better(value[image], best_value[image], direction)) return;
  best_value[image] = value[image];
}

}  // namespace

void remember(const Images& images, const float* value, float* best_value, float* best, int direction, rt::Stream stream) {
  const ImageWalk walk = image_walk(images, "remember");
  require(direction == 1 || direction == -1, "remember", "direction: expected 1 or -1");
  if (walk.images == 0) return;
  const float* x = images.x;
  if (aligned_groups(images, images.x, best))
    launch("remember", remember_images<true>, walk.grid(), dim3(kWalkThreads), 0, stream, x, value, best_value, best, direction, walk);
  else
    launch("remember", remember_images<false>, walk.grid(), dim3(kWalkThreads), 0, stream, x, value, best_value, best, direction, walk);
  launch("remember_values", remember_values, dim3(blocks_for(walk.images, 256)), dim3(256), 0, stream, value, best_value, direction, walk.images,
         walk.live);
}

}  // namespace signstep::kernels
