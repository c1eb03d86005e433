// One pass over all images under attack: blocks of 2,048 elements of one image, each thread two groups of four, loaded before anything is
// stored. 16-byte accesses where alignment and size allow.
#pragma once

#include <cstdint>

#include "element.cuh"

namespace signstep::kernels {

inline constexpr int kWalkThreads = 256, kWalkGroups = 2;
inline constexpr std::uint32_t kWalkStride = kWalkThreads * 4, kWalkBlock = kWalkStride * kWalkGroups;

struct ImageWalk {
  std::uint32_t images, elements, blocks_per_image;
  const std::int32_t* live;

  dim3 grid() const { return dim3(images * blocks_per_image); }
};

// Throws Failure{invalid} for shapes that cannot be: indices within an image are 32-bit numbers.
inline ImageWalk image_walk(const Images& images, const char* kernel) {
  require(images.images >= 0 && images.channels > 0 && images.height > 0 && images.width > 0 && images.patch >= 0, kernel,
          "expected positive channels, height and width, and no negative number of images or patch");
  require(images.patch == 0 || (images.height % images.patch == 0 && images.width % images.patch == 0), kernel,
          "height and width must be multiples of the patch");
  constexpr std::int64_t most = 0x7FFFFFFF - 65536;
  require(images.elements() <= most, kernel, "an image has too many elements: at most 2147418111");
  const std::int64_t blocks = (images.elements() + kWalkBlock - 1) / kWalkBlock;
  require(images.images * blocks <= 0x7FFFFFFF, kernel, "too many images of this size at once");
  return {static_cast<std::uint32_t>(images.images), static_cast<std::uint32_t>(images.elements()), static_cast<std::uint32_t>(blocks), images.live};
}

// Whether groups can be accessed as one.
template <class... Pointer>
bool aligned_groups(const Images& images, const Pointer*... pointers) {
  return images.elements() % 4 == 0 && (aligned16(pointers) && ...);
}

__device__ __forceinline__ bool is_live(const std::int32_t* live, std::uint32_t image) {
  return live == nullptr || static_cast<std::int32_t>(image) < *live;
}

struct WalkPlace {
  std::uint32_t image, first;  // first: of the thread's first group; the others follow kWalkStride apart
  std::int64_t offset;         // of the image
};
__device__ __forceinline__ WalkPlace walk_place(const ImageWalk& walk) {
  const std::uint32_t image = blockIdx.x / walk.blocks_per_image, block = blockIdx.x - image * walk.blocks_per_image;
  return {image, block * kWalkBlock + static_cast<std::uint32_t>(threadIdx.x) * 4, static_cast<std::int64_t>(image) * walk.elements};
}

// A group of four; elements beyond the image are 0 and not stored.
template <bool kWide>
__device__ __forceinline__ void load_group(const float* image, std::uint32_t at, std::uint32_t elements, float (&to)[4]) {
  if constexpr (kWide) {
    const float4 four = at < elements ? *reinterpret_cast<const float4*>(image + at) : make_float4(0, 0, 0, 0);
    to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
  } else {
#pragma unroll
    for (std::uint32_t i = 0; i < 4; i++) to[i] = at + i < elements ? image[at + i] : 0.0f;
  }
}
template <bool kWide, class T>
__device__ __forceinline__ void store_group(T* image, std::uint32_t at, std::uint32_t elements, const float (&from)[4]) {
  if constexpr (!kWide) {
#pragma unroll
    for (std::uint32_t i = 0; i < 4; i++)
      if (at + i < elements) image[at + i] = from_float<T>(from[i]);
  } else if (at < elements) {
    if constexpr (sizeof(T) == 4)
      *reinterpret_cast<float4*>(image + at) = make_float4(from[0], from[1], from[2], from[3]);
    else
      *reinterpret_cast<uint2*>(image + at) = make_uint2(pack2<T>(from[0], from[1]), pack2<T>(from[2], from[3]));
  }
}

using WalkValues = float[kWalkGroups][4];

template <bool kWide>
__device__ __forceinline__ void load_groups(const float* data, const ImageWalk& walk, const WalkPlace& place, WalkValues& to) {
#pragma unroll
  for (int g = 0; g < kWalkGroups; g++)
    load_group<kWide>(data + place.offset, place.first + static_cast<std::uint32_t>(g) * kWalkStride, walk.elements, to[g]);
}
template <bool kWide, class T>
__device__ __forceinline__ void store_groups(T* data, const ImageWalk& walk, const WalkPlace& place, const WalkValues& from) {
#pragma unroll
  for (int g = 0; g < kWalkGroups; g++)
    store_group<kWide>(data + place.offset, place.first + static_cast<std::uint32_t>(g) * kWalkStride, walk.elements, from[g]);
}

// The iterate and, where there is one, what the first product reads.
template <class T, bool kWide>
__device__ __forceinline__ void store_iterate(const Images& images, const ImageWalk& walk, const WalkPlace& place, const WalkValues& x) {
  store_groups<kWide>(images.x, walk, place, x);
  if (images.operand != nullptr) store_groups<kWide>(static_cast<T*>(images.operand), walk, place, x);
}

template <bool B>
struct Flag {
  static constexpr bool value = B;
};
// Calls body(Element<T>, Flag<wide>) for the type of the operand and the kind of access.
template <class Body>
void with_access(const Images& images, bool wide, Body&& body) {
  with_element(images.precision, [&](auto element) {
    if (wide)
      body(element, Flag<true>{});
    else
      body(element, Flag<false>{});
  });
}

}  // namespace signstep::kernels
