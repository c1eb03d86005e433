// What the two kernels of batched_matmul share: their arguments, and which tile of which matrix a block makes.
#pragma once

#include "element.cuh"
#include "walk.h"

namespace signstep::kernels::batched {

inline constexpr int kSide = 64;  // rows and columns of a block's tile

struct Side {
  const void* data;
  bool is_float;
  std::int64_t across, along;  // strides over m or n, over k
  std::int64_t batch[3];
  std::int32_t extent;  // m or n
};

struct Job {
  Side a, b;
  void* out;
  bool out_float;
  std::int32_t k;
  float alpha;
  Divisor tiles, tiles_n, batch1, batch2;  // tiles of one matrix, side by side in it; batch dimensions
};

struct Tile {
  std::int32_t m0, n0;
  std::int64_t a_base, b_base, out_base;
};

__device__ __forceinline__ Tile tile_of(const Job& job) {
  const std::int64_t batch = job.tiles.quotient(blockIdx.x, false),
                     tile = static_cast<std::int64_t>(blockIdx.x) - batch * job.tiles.divisor;
  const std::int64_t down = job.tiles_n.quotient(tile, false), right = tile - down * job.tiles_n.divisor;
  const std::int64_t outer = job.batch2.quotient(batch, false), i2 = batch - outer * job.batch2.divisor;
  const std::int64_t i0 = job.batch1.quotient(outer, false), i1 = outer - i0 * job.batch1.divisor;
  return {static_cast<std::int32_t>(down * kSide), static_cast<std::int32_t>(right * kSide),
          i0 * job.a.batch[0] + i1 * job.a.batch[1] + i2 * job.a.batch[2], i0 * job.b.batch[0] + i1 * job.b.batch[1] + i2 * job.b.batch[2],
          batch * job.a.extent * job.b.extent};
}

// Which elements of a kSide x Depth tile a thread moves, and how far they lie apart: neighbours in memory go to neighbouring threads. One
// start and one step, not a place for each: with 16 places the addresses alone took 100 registers.
struct Route {
  int across, along, across_step, along_step;
};
template <int Depth, int Threads>
__device__ __forceinline__ Route route(const Side& side) {
  const int thread = static_cast<int>(threadIdx.x);
  return side.along == 1 ? Route{thread / Depth, thread % Depth, Threads / Depth, 0}
                         : Route{thread % kSide, thread / kSide, 0, Threads / kSide};
}

template <class T>
__device__ __forceinline__ void store_result(const Job& job, const Tile& tile, std::int32_t m, std::int32_t n, float sum) {
  const float value[1] = {job.alpha * sum};
  if (m < job.a.extent && n < job.b.extent) {
    store<T>(job.out, job.out_float, tile.out_base + static_cast<std::int64_t>(m) * job.b.extent + n, value);
  }
}

}  // namespace signstep::kernels::batched
