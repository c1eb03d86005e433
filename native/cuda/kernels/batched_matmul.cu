// Products of batches of matrices with any strides, for what no fused kernel covers: out = alpha * a . b, accumulated in float32. Two
// 16-bit operands go to the matrix cores; where one is float32 products are of float32 accuracy, in the kernel of this file: tiles of 64 x
// 64 x 16, 256 threads with 4 x 4 results each, the next tile on its way in registers while this one is multiplied.
#include "batched_matmul.cuh"
#include "batched_matmul_mma.cuh"

namespace signstep::kernels {

namespace batched {
namespace {

constexpr int kBlock = 256;
constexpr int kDepth = 16;
constexpr int kPitch = kSide + 2;  // even, for reads of two floats; 16 rows 2 banks apart, for writes down a column
constexpr int kLoads = kSide * kDepth / kBlock;

template <class T>
__device__ __forceinline__ void fetch(const Side& side, std::int64_t base, std::int32_t first, std::int32_t k0, std::int32_t k,
                                      float (&to)[kLoads]) {
  const Route way = route<kDepth, kBlock>(side);
#pragma unroll
  for (int i = 0; i < kLoads; i++) {
    const std::int32_t across = first + way.across + i * way.across_step, along = k0 + way.along + i * way.along_step;
    float one[1] = {0};
    if (across < side.extent && along < k) load<T>(side.data, side.is_float, base + across * side.across + along * side.along, one);
    to[i] = one[0];
  }
}

__device__ __forceinline__ void put(const Side& side, Shared<float> tile, const float (&from)[kLoads]) {
  const Route way = route<kDepth, kBlock>(side);
#pragma unroll
  for (int i = 0; i < kLoads; i++) tile[(way.along + i * way.along_step) * kPitch + way.across + i * way.across_step] = from[i];
}

// Four of a tile's 64 rows or columns: two pairs, 32 apart, so that 16 threads reading float2 touch every bank once.
__device__ __forceinline__ void take(Shared<float> row, int pair, float (&to)[4]) {
  const Shared<float2> pairs = shared_cast<float2>(row);
  const float2 low = pairs[pair], high = pairs[pair + 16];
  to[0] = low.x, to[1] = low.y, to[2] = high.x, to[3] = high.y;
}

template <class T>
__global__ void __launch_bounds__(kBlock) batched_matmul_float(const Job job) {
  const Shared<float> a_tile = shared_cast<float>(dynamic_shared()), b_tile = a_tile + kDepth * kPitch;
  const Tile tile = tile_of(job);
  const int across = static_cast<int>(threadIdx.x) % 16, down = static_cast<int>(threadIdx.x) / 16;

  float sums[4][4] = {};
  float a_next[kLoads], b_next[kLoads];
  fetch<T>(job.a, tile.a_base, tile.m0, 0, job.k, a_next);
  fetch<T>(job.b, tile.b_base, tile.n0, 0, job.k, b_next);
  for (std::int32_t k0 = 0; k0 < job.k; k0 += kDepth) {
    put(job.a, a_tile, a_next);
    put(job.b, b_tile, b_next);
    __syncthreads();
    if (k0 + kDepth < job.k) {
      fetch<T>(job.a, tile.a_base, tile.m0, k0 + kDepth, job.k, a_next);
      fetch<T>(job.b, tile.b_base, tile.n0, k0 + kDepth, job.k, b_next);
    }
#pragma unroll
    for (int kk = 0; kk < kDepth; kk++) {
      float a[4], b[4];
      take(a_tile + kk * kPitch, down, a);
      take(b_tile + kk * kPitch, across, b);
#pragma unroll
      for (int i = 0; i < 4; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) sums[i][j] = fmaf(a[i], b[j], sums[i][j]);
      }
    }
    __syncthreads();
  }

#pragma unroll
  for (int i = 0; i < 4; i++) {
#pragma unroll
    for (int j = 0; j < 4; j++) {
      store_result<T>(job, tile, tile.m0 + 2 * down + i % 2 + 32 * (i / 2), tile.n0 + 2 * across + j % 2 + 32 * (j / 2), sums[i][j]);
    }
  }
}

}  // namespace
}  // namespace batched

void batched_matmul(const BatchedMatmul& args, rt::Stream stream) {
  using namespace batched;
  require(is_number(args.a) && is_number(args.b) && is_number(args.out), "batched_matmul", "an operand holds int32");
  const std::int64_t batch = args.batch[0] * args.batch[1] * args.batch[2];
  if (batch == 0 || args.m == 0 || args.n == 0) return;
  Job job = {};
  job.a = {args.a.data, is_float(args.a), args.a_row, args.a_column, {}, args.m};
  job.b = {args.b.data, is_float(args.b), args.b_column, args.b_row, {}, args.n};
  for (int i = 0; i < 3; i++) job.a.batch[i] = args.a_batch[i], job.b.batch[i] = args.b_batch[i];
  job.out = args.out.data, job.out_float = is_float(args.out);
  job.k = args.k, job.alpha = args.alpha;
  const std::int64_t tiles_n = (args.n + kSide - 1) / kSide, tiles = tiles_n * ((args.m + kSide - 1) / kSide);
  require(tiles * batch < (std::int64_t{1} << 31), "batched_matmul", "more than 2^31 tiles");
  job.tiles = Divisor(tiles), job.tiles_n = Divisor(tiles_n);
  job.batch1 = Divisor(args.batch[1]), job.batch2 = Divisor(args.batch[2]);
  const dim3 grid(static_cast<unsigned>(tiles * batch));
  with_element(args.precision, [&]<class T>(Element<T>) {
    if constexpr (sizeof(T) == 2) {
      if (!job.a.is_float && !job.b.is_float) {
        launch("batched_matmul_mma", batched_matmul_mma<T>, grid, dim3(kMmaBlock), kMmaShared, stream, job);
        return;
      }
    }
    launch("batched_matmul_float", batched_matmul_float<T>, grid, dim3(kBlock), 2 * kDepth * kPitch * sizeof(float), stream, job);
  });
}

}  // namespace signstep::kernels
