// Where a pixel lies: element numbers in planes order (channel, row, column), which key the random numbers and order the sums, against
// positions in the layout that the model's first product reads (program::ImageLayout).
#pragma once

#include <cstdint>

#include "element.cuh"

namespace signstep::kernels {

// Division of numbers below 2^31 by one that is known at launch: a multiplication and a shift, a fifth of the instructions of a division.
struct Divider {
  std::uint32_t divisor = 1, multiplier = 0, shift = 0;

  Divider() = default;
  explicit Divider(std::uint32_t by) : divisor(by) {
    if (by == 1) return;
    std::uint32_t bits = 1;  // of by - 1, so that 2^(bits-1) < by <= 2^bits
    while (bits < 31 && (std::uint64_t{1} << bits) < by) ++bits;
    multiplier = static_cast<std::uint32_t>(((std::uint64_t{1} << (31 + bits)) + by - 1) / by);
    shift = bits - 1;
  }
  __device__ __forceinline__ std::uint32_t quotient(std::uint32_t n) const { return divisor == 1 ? n : __umulhi(n, multiplier) >> shift; }
};

struct ImageLayout {
  bool patches = false;
  std::uint32_t plane = 1, width = 1, side = 1, across = 1, area = 1, patch_elements = 1;
  Divider by_plane, by_width, by_side, by_across, by_area, by_patch_elements;

  explicit ImageLayout(const Images& images) {
    if (images.patch == 0) return;
    patches = true;
    width = static_cast<std::uint32_t>(images.width);
    plane = static_cast<std::uint32_t>(images.height) * width;
    side = static_cast<std::uint32_t>(images.patch);
    across = width / side;
    area = side * side;
    patch_elements = static_cast<std::uint32_t>(images.channels) * area;
    by_plane = Divider(plane), by_width = Divider(width), by_side = Divider(side), by_across = Divider(across);
    by_area = Divider(area), by_patch_elements = Divider(patch_elements);
  }

  __device__ __forceinline__ std::uint32_t to_layout(std::uint32_t element) const {
    if (!patches) return element;
    const std::uint32_t channel = by_plane.quotient(element), of_plane = element - channel * plane;
    const std::uint32_t row = by_width.quotient(of_plane), column = of_plane - row * width;
    const std::uint32_t patch_row = by_side.quotient(row), patch_column = by_side.quotient(column);
    return (patch_row * across + patch_column) * patch_elements + channel * area + (row - patch_row * side) * side + column - patch_column * side;
  }
  __device__ __forceinline__ std::uint32_t to_planes(std::uint32_t position) const {
    if (!patches) return position;
    const std::uint32_t patch = by_patch_elements.quotient(position), of_patch = position - patch * patch_elements;
    const std::uint32_t channel = by_area.quotient(of_patch), of_area = of_patch - channel * area;
    const std::uint32_t row = by_side.quotient(of_area), column = of_area - row * side;
    const std::uint32_t patch_row = by_across.quotient(patch), patch_column = patch - patch_row * across;
    return channel * plane + (patch_row * side + row) * width + patch_column * side + column;
  }
};

// How many elements, counted from a multiple of that number, are neighbours in planes order and in the layout and can be accessed as one.
inline int neighbours(const Images& images, bool aligned) {
  if (!aligned) return 1;
  const std::int64_t side = images.patch == 0 ? images.elements() : images.patch;
  return side % 4 == 0 ? 4 : side % 2 == 0 && images.patch != 0 ? 2 : 1;
}

// A group: four elements from a multiple of four on, in one order, at their places in the other.
template <int kWidth>
struct Scattered {
  std::uint32_t at[4 / kWidth];

  // The number of elements matters for kWidth 1 only: otherwise it is a multiple of four.
  __device__ __forceinline__ void load(const float* image, std::uint32_t first, std::uint32_t elements, float (&to)[4]) const {
    if constexpr (kWidth == 4) {
      const float4 four = *reinterpret_cast<const float4*>(image + at[0]);
      to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
    } else if constexpr (kWidth == 2) {
      const float2 a = *reinterpret_cast<const float2*>(image + at[0]), b = *reinterpret_cast<const float2*>(image + at[1]);
      to[0] = a.x, to[1] = a.y, to[2] = b.x, to[3] = b.y;
    } else {
#pragma unroll
      for (int i = 0; i < 4; i++) to[i] = first + static_cast<std::uint32_t>(i) < elements ? image[at[i]] : 0.0f;
    }
  }
  __device__ __forceinline__ void store(float* image, std::uint32_t first, std::uint32_t elements, const float (&from)[4]) const {
    if constexpr (kWidth == 4) {
      *reinterpret_cast<float4*>(image + at[0]) = make_float4(from[0], from[1], from[2], from[3]);
    } else if constexpr (kWidth == 2) {
      *reinterpret_cast<float2*>(image + at[0]) = make_float2(from[0], from[1]);
      *reinterpret_cast<float2*>(image + at[1]) = make_float2(from[2], from[3]);
    } else {
#pragma unroll
      for (int i = 0; i < 4; i++)
        if (first + static_cast<std::uint32_t>(i) < elements) image[at[i]] = from[i];
    }
  }
};

// The group that begins at element `first` in planes order, in the layout.
template <int kWidth>
__device__ __forceinline__ Scattered<kWidth> in_layout(const ImageLayout& layout, std::uint32_t first) {
  Scattered<kWidth> group;
#pragma unroll
  for (int i = 0; i < 4 / kWidth; i++) group.at[i] = layout.to_layout(first + static_cast<std::uint32_t>(i * kWidth));
  return group;
}
// The group that begins at position `first` of the layout, in planes order.
template <int kWidth>
__device__ __forceinline__ Scattered<kWidth> in_planes(const ImageLayout& layout, std::uint32_t first) {
  Scattered<kWidth> group;
#pragma unroll
  for (int i = 0; i < 4 / kWidth; i++) group.at[i] = layout.to_planes(first + static_cast<std::uint32_t>(i * kWidth));
  return group;
}

template <int N>
struct Count {
  static constexpr int value = N;
};
// Calls body with Count<neighbours(…)>.
template <class Body>
void with_neighbours(const Images& images, bool aligned, Body&& body) {
  switch (neighbours(images, aligned)) {
    case 4: return body(Count<4>{});
    case 2: return body(Count<2>{});
    default: return body(Count<1>{});
  }
}

}  // namespace signstep::kernels
