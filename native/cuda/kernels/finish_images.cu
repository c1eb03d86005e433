// Keeps the iterates that have fooled the model, at the places their images had in the batch as it was begun.
#include "image_walk.cuh"

namespace signstep::kernels {
namespace {

template <bool kWide>
__global__ void __launch_bounds__(kWalkThreads) finish_images_kernel(const float* x, const std::uint8_t* fooled, const std::int32_t* order,
                                                                     float* finished, const ImageWalk walk) {
  const WalkPlace place = walk_place(walk);
  if (!is_live(walk.live, place.image) || fooled[place.image] == 0) return;
  WalkPlace home = place;
  home.offset = static_cast<std::int64_t>(order[place.image]) * walk.elements;
  WalkValues pixels;
  load_groups<kWide>(x, walk, place, pixels);
  store_groups<kWide>(finished, walk, home, pixels);
}

}  // namespace

void finish_images(const Images& images, const std::uint8_t* fooled, const std::int32_t* order, float* finished, rt::Stream stream) {
  const ImageWalk walk = image_walk(images, "finish_images");
  if (walk.images == 0) return;
  const float* x = images.x;
  if (aligned_groups(images, images.x, finished))
    launch("finish_images", finish_images_kernel<true>, walk.grid(), dim3(kWalkThreads), 0, stream, x, fooled, order, finished, walk);
  else
    launch("finish_images", finish_images_kernel<false>, walk.grid(), dim3(kWalkThreads), 0, stream, x, fooled, order, finished, walk);
}

}  // namespace signstep::kernels
