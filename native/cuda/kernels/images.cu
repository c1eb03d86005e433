// Images into the layout that the model's first product reads, and back.
#include "image_layout.cuh"
#include "image_walk.cuh"

namespace signstep::kernels {
namespace {

// Walks the layout, so that what is written three times is written in order.
template <class T, int kWidth>
__global__ void __launch_bounds__(kWalkThreads) import_images_kernel(const Images images, float* x0, const float* planes, const ImageLayout layout,
                                                                     const ImageWalk walk) {
  constexpr bool wide = kWidth != 1;
  const WalkPlace place = walk_place(walk);
  if (!is_live(walk.live, place.image)) return;
  WalkValues pixels = {};
#pragma unroll
  for (int g = 0; g < kWalkGroups; g++) {
    const std::uint32_t at = place.first + static_cast<std::uint32_t>(g) * kWalkStride;
    if (at < walk.elements) in_planes<kWidth>(layout, at).load(planes + place.offset, at, walk.elements, pixels[g]);
  }
  store_groups<wide>(x0, walk, place, pixels);
  store_iterate<T, wide>(images, walk, place, pixels);
}

// Walks the planes.
template <int kWidth>
__global__ void __launch_bounds__(kWalkThreads) export_images_kernel(const float* from, float* planes, const ImageLayout layout,
                                                                     const ImageWalk walk) {
  const WalkPlace place = walk_place(walk);
  if (!is_live(walk.live, place.image)) return;
  WalkValues pixels = {};
#pragma unroll
  for (int g = 0; g < kWalkGroups; g++) {
    const std::uint32_t at = place.first + static_cast<std::uint32_t>(g) * kWalkStride;
    if (at < walk.elements) in_layout<kWidth>(layout, at).load(from + place.offset, at, walk.elements, pixels[g]);
  }
  store_groups<kWidth != 1>(planes, walk, place, pixels);
}

}  // namespace

void import_images(const Images& to, float* x0, const float* planes, rt::Stream stream) {
  const ImageWalk walk = image_walk(to, "import_images");
  if (walk.images == 0) return;
  const bool aligned = aligned_groups(to, to.x, x0, planes, to.operand);
  with_element(to.precision, [&]<class T>(Element<T>) {
    with_neighbours(to, aligned, [&]<int kWidth>(Count<kWidth>) {
      launch("import_images", import_images_kernel<T, kWidth>, walk.grid(), dim3(kWalkThreads), 0, stream, to, x0, planes, ImageLayout(to), walk);
    });
  });
}

void export_images(const Images& like, const float* from, float* planes, rt::Stream stream) {
  const ImageWalk walk = image_walk(like, "export_images");
  if (walk.images == 0) return;
  with_neighbours(like, aligned_groups(like, from, planes), [&]<int kWidth>(Count<kWidth>) {
    launch("export_images", export_images_kernel<kWidth>, walk.grid(), dim3(kWalkThreads), 0, stream, from, planes, ImageLayout(like), walk);
  });
}

}  // namespace signstep::kernels
