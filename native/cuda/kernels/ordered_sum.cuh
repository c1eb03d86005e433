// Float64 sums in the one order that signstep.h fixes, so that norms have the same bits on every device: runs of 16,384 elements of an image
// in planes order, each summed in 16 lanes (element i to lane i mod 16, in order), the lanes added pairwise, the runs in order.
//
// A block is one run. 256 threads compute the terms of 2,048 elements at a time into one half of a buffer while one more warp adds up the
// other half: the chain of 1,024 dependent additions a lane is what bounds a run, and so it hides all loads.
#pragma once

#include <cstdint>

#include "../ptx/device.h"

namespace signstep::kernels {

using namespace signstep::device;

inline constexpr std::uint32_t kSumRun = 16384, kSumLanes = 16;
inline constexpr int kSumLoaders = 256, kSumThreads = kSumLoaders + 32;
inline constexpr std::uint32_t kSumTile = 2048, kSumGroups = kSumTile / 4 / kSumLoaders;
// Element i of a tile lies at (i mod 4) * kSumStride + i / 4: neither the threads that write groups of four nor the lanes that read
// sixteen neighbours meet in a bank.
inline constexpr std::uint32_t kSumStride = kSumTile / 4 + 4;
inline constexpr std::size_t kSumBuffer = 2 * 4 * kSumStride * sizeof(double);

inline std::int64_t sum_runs(std::int64_t elements) { return (elements + kSumRun - 1) / kSumRun; }

// The sum over elements [begin, end) of a run; `begin` is a multiple of 16,384. terms(first, out) gives the terms of elements first … first + 3,
// 0 beyond the end. Called by all kSumThreads threads of a block; valid in lane 0 of the last warp.
template <class Terms>
__device__ __forceinline__ double ordered_run_sum(Shared<double> buffer, std::uint32_t begin, std::uint32_t end, Terms&& terms) {
  const std::uint32_t thread = static_cast<std::uint32_t>(threadIdx.x), lane = thread % kSumLanes;
  const bool adds = thread >= kSumLoaders;
  const Shared<double> mine = adds ? buffer + (lane % 4 * kSumStride + lane / 4) : buffer + thread;
  double sum = 0;
  std::uint32_t half = 0;
  for (std::uint32_t tile = begin; tile < end; tile += kSumTile) {
    const Shared<double> at = mine + half * (4 * kSumStride);
    if (!adds) {
#pragma unroll
      for (std::uint32_t g = 0; g < kSumGroups; g++) {
        const std::uint32_t first = tile + (g * kSumLoaders + thread) * 4;
        double term[4] = {0, 0, 0, 0};
        if (first < end) terms(first, term);
#pragma unroll
        for (std::uint32_t i = 0; i < 4; i++) at[i * kSumStride + g * kSumLoaders] = term[i];
      }
    }
    __syncthreads();
    if (adds) {
      const std::uint32_t left = end - tile, rows = ((left < kSumTile ? left : kSumTile) + kSumLanes - 1) / kSumLanes;
#pragma unroll 8
      for (std::uint32_t row = 0; row < rows; row++) {
        const double term = at[row * (kSumLanes / 4)];
        sum = __dadd_rn(sum, term);
      }
    }
    half ^= 1;
  }
  if (adds) {
    // Both halves of the warp hold the same 16 sums.
#pragma unroll
    for (unsigned distance = kSumLanes / 2; distance > 0; distance /= 2) sum = __dadd_rn(sum, __shfl_down_sync(0xFFFFFFFFu, sum, distance));
  }
  return sum;
}

// The sums of an image's runs, in order. Called by a whole warp; valid in all lanes.
__device__ __forceinline__ double sum_of_runs(const double* sums, std::uint32_t runs) {
  const std::uint32_t lane = static_cast<std::uint32_t>(threadIdx.x) % 32;
  double total = 0;
  for (std::uint32_t base = 0; base < runs; base += 32) {
    const double own = base + lane < runs ? sums[base + lane] : 0.0;
    const std::uint32_t here = runs - base < 32 ? runs - base : 32;
    for (std::uint32_t i = 0; i < here; i++) total = __dadd_rn(total, __shfl_sync(0xFFFFFFFFu, own, static_cast<int>(i)));
  }
  return total;
}

}  // namespace signstep::kernels
