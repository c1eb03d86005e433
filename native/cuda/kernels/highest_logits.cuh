// The highest logits of an image, in order; of equals the lower class comes first, as in ONNX's TopK and in "the first highest".
#pragma once

#include <cstdint>

#include "../ptx/device.h"

namespace signstep::kernels {

using namespace signstep::device;

inline constexpr int kMostLossWarps = 16;

template <int kTop>
struct HighestLogits {
  float value[kTop];
  std::int32_t at[kTop];

  __device__ __forceinline__ HighestLogits() {
#pragma unroll
    for (int k = 0; k < kTop; k++) value[k] = __uint_as_float(0xFF800000u), at[k] = 0x7FFFFFFF;
  }

  // NaN is passed over.
  __device__ __forceinline__ void insert(float z, std::int32_t of) {
#pragma unroll
    for (int k = 0; k < kTop; k++) {
      const bool first = z > value[k] || (z == value[k] && of < at[k]);
      const float z_after = first ? value[k] : z;
      const std::int32_t after = first ? at[k] : of;
      value[k] = first ? z : value[k];
      at[k] = first ? of : at[k];
      z = z_after, of = after;
    }
  }

  __device__ __forceinline__ void merge_warp() {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) {
      float other[kTop];
      std::int32_t other_at[kTop];
#pragma unroll
      for (int k = 0; k < kTop; k++) {
        other[k] = __shfl_xor_sync(0xFFFFFFFFu, value[k], distance);
        other_at[k] = __shfl_xor_sync(0xFFFFFFFFu, at[k], distance);
      }
#pragma unroll
      for (int k = 0; k < kTop; k++) insert(other[k], other_at[k]);
    }
  }

  // All threads get the highest of the block. values, places: [kMostLossWarps * kTop], not in use by anything else.
  __device__ __forceinline__ void merge_block(Shared<float> values, Shared<std::int32_t> places) {
    merge_warp();
    const int warps = static_cast<int>(blockDim.x) / 32, warp = static_cast<int>(threadIdx.x) / 32;
    if (threadIdx.x % 32 == 0) {
#pragma unroll
      for (int k = 0; k < kTop; k++) values[warp * kTop + k] = value[k], places[warp * kTop + k] = at[k];
    }
    __syncthreads();
    for (int other = 0; other < warps; other++) {
      if (other == warp) continue;
#pragma unroll
      for (int k = 0; k < kTop; k++) insert(values[other * kTop + k], places[other * kTop + k]);
    }
  }
};

}  // namespace signstep::kernels
