// Batched products of two 16-bit operands on the matrix cores (mma.sync): tiles of 64 x 64 x 32, 8 warps with 32 x 16 results each, the
// next tile on its way in registers while this one is multiplied. Elements are read one by one, whatever their strides; with 4 warps and
// twice the results each, the addresses of 32 loads took 210 registers.
#pragma once

#include "batched_matmul.cuh"

namespace signstep::kernels::batched {

inline constexpr int kMmaBlock = 256;
inline constexpr int kMmaDepth = 32;
inline constexpr int kMmaPitch = kMmaDepth + 8;  // 80 bytes: the 8 rows that ldmatrix reads at once lie in 32 different banks
inline constexpr int kMmaLoads = kSide * kMmaDepth / kMmaBlock;
inline constexpr std::size_t kMmaShared = 2 * kSide * kMmaPitch * 2;

// `from`: the thread's first element of the tile at k0.
template <class T>
__device__ __forceinline__ void fetch_raw(const Side& side, const Route& way, const T* from, std::int32_t first, std::int32_t left,
                                          T (&to)[kMmaLoads]) {
  const std::int64_t step = way.across_step * side.across + way.along_step * side.along;
#pragma unroll
  for (int i = 0; i < kMmaLoads; i++) {
    const bool inside = first + way.across + i * way.across_step < side.extent && way.along + i * way.along_step < left;
    to[i] = inside ? from[i * step] : T{};
  }
}

template <class T>
__device__ __forceinline__ void put_raw(const Route& way, Shared<T> tile, const T (&from)[kMmaLoads]) {
  const int start = way.across * kMmaPitch + way.along, step = way.across_step * kMmaPitch + way.along_step;
#pragma unroll
  for (int i = 0; i < kMmaLoads; i++) tile[start + i * step] = from[i];
}

template <class T>
__device__ __forceinline__ const T* first_element(const Side& side, const Route& way, std::int64_t base, std::int32_t first) {
  return static_cast<const T*>(side.data) + (base + (first + way.across) * side.across + way.along * side.along);
}

template <class T>
__global__ void __launch_bounds__(kMmaBlock) batched_matmul_mma(const Job job) {
  const Shared<T> a_tile = shared_cast<T>(dynamic_shared()), b_tile = a_tile + kSide * kMmaPitch;
  const Tile tile = tile_of(job);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int row0 = warp / 4 * 32, column0 = warp % 4 * 16;  // of the warp's results in the tile
  // ldmatrix: lanes 0-15 give the rows of the first 8 values of k, 16-31 of the next; for b, both halves of 8 columns, then of 8 more.
  const Shared<T> a_row = a_tile + ((row0 + lane % 16) * kMmaPitch + lane / 16 * 8);
  const Shared<T> b_row = b_tile + ((column0 + lane / 16 * 8 + lane % 8) * kMmaPitch + lane / 8 % 2 * 8);

  float sums[2][2][4] = {};  // [16 rows][8 columns][fragment]
  T a_next[kMmaLoads], b_next[kMmaLoads];
  const Route a_way = route<kMmaDepth, kMmaBlock>(job.a), b_way = route<kMmaDepth, kMmaBlock>(job.b);
  const T* a_from = first_element<T>(job.a, a_way, tile.a_base, tile.m0);
  const T* b_from = first_element<T>(job.b, b_way, tile.b_base, tile.n0);
  fetch_raw(job.a, a_way, a_from, tile.m0, job.k, a_next);
  fetch_raw(job.b, b_way, b_from, tile.n0, job.k, b_next);
  for (std::int32_t k0 = 0; k0 < job.k; k0 += kMmaDepth) {
    put_raw(a_way, a_tile, a_next);
    put_raw(b_way, b_tile, b_next);
    __syncthreads();
    if (k0 + kMmaDepth < job.k) {
      a_from += kMmaDepth * job.a.along;
      b_from += kMmaDepth * job.b.along;
      fetch_raw(job.a, a_way, a_from, tile.m0, job.k - k0 - kMmaDepth, a_next);
      fetch_raw(job.b, b_way, b_from, tile.n0, job.k - k0 - kMmaDepth, b_next);
    }
#pragma unroll
    for (int kk = 0; kk < kMmaDepth; kk += 16) {
      std::uint32_t a[2][4], b[4];
      ldmatrix_x4(b, b_row + kk);
#pragma unroll
      for (int i = 0; i < 2; i++) ldmatrix_x4(a[i], a_row + (16 * i * kMmaPitch + kk));
#pragma unroll
      for (int i = 0; i < 2; i++) {
#pragma unroll
        for (int j = 0; j < 2; j++) {
          const std::uint32_t columns[2] = {b[2 * j], b[2 * j + 1]};
          mma_m16n8k16<T>(sums[i][j], a[i], columns);
        }
      }
    }
    __syncthreads();
  }

#pragma unroll
  for (int i = 0; i < 2; i++) {
#pragma unroll
    for (int j = 0; j < 2; j++) {
#pragma unroll
      for (int f = 0; f < 4; f++) {
        store_result<T>(job, tile, tile.m0 + row0 + 16 * i + lane / 4 + f / 2 * 8, tile.n0 + column0 + 8 * j + lane % 4 * 2 + f % 2,
                        sums[i][j][f]);
      }
    }
  }
}

}  // namespace signstep::kernels::batched
