// Products of batches of matrices with any strides, for what no fused kernel covers: out = alpha * a . b, accumulated in float32 (for float32
// operands therefore of float32 accuracy). Tiles of 64 x 64 x 16, 256 threads with 4 x 4 results each, the next tile on its way in registers
// while this one is multiplied.
#include "element.cuh"
#include "walk.h"

namespace signstep::kernels {
namespace {

constexpr int kBlock = 256;
constexpr int kSide = 64, kDepth = 16;
constexpr int kPitch = kSide + 2;  // even, for reads of two floats; 16 rows 2 banks apart, for writes down a column
constexpr int kLoads = kSide * kDepth / kBlock;

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
  Divisor tiles, tiles_n, batch1, batch2;
  bool wide;
};

// Which element of its 64 x 16 tile a thread loads: neighbours in memory go to neighbouring threads.
struct Spot {
  int across, along;
};
__device__ __forceinline__ Spot spot(bool along_first, int load) {
  const int i = static_cast<int>(threadIdx.x) + load * kBlock;
  return along_first ? Spot{i / kDepth, i % kDepth} : Spot{i % kSide, i / kSide};
}

template <class T>
__device__ __forceinline__ void fetch(const Side& side, std::int64_t base, std::int32_t first, std::int32_t k0, std::int32_t k, float (&to)[kLoads]) {
  const bool along_first = side.along == 1;
#pragma unroll
  for (int i = 0; i < kLoads; i++) {
    const Spot s = spot(along_first, i);
    const std::int32_t across = first + s.across, along = k0 + s.along;
    float one[1] = {0};
    if (across < side.extent && along < k) load<T>(side.data, side.is_float, base + across * side.across + along * side.along, one);
    to[i] = one[0];
  }
}

__device__ __forceinline__ void put(const Side& side, Shared<float> tile, const float (&from)[kLoads]) {
  const bool along_first = side.along == 1;
#pragma unroll
  for (int i = 0; i < kLoads; i++) {
    const Spot s = spot(along_first, i);
    tile[s.along * kPitch + s.across] = from[i];
  }
}

// Four of a tile's 64 rows or columns: two pairs, 32 apart, so that 16 threads reading float2 touch every bank once.
__device__ __forceinline__ void take(Shared<float> row, int pair, float (&to)[4]) {
  const Shared<float2> pairs = shared_cast<float2>(row);
  const float2 low = pairs[pair], high = pairs[pair + 16];
  to[0] = low.x, to[1] = low.y, to[2] = high.x, to[3] = high.y;
}

template <class T>
__global__ void __launch_bounds__(kBlock) batched_matmul_kernel(const Job job) {
  const Shared<float> a_tile = shared_cast<float>(dynamic_shared()), b_tile = a_tile + kDepth * kPitch;
  const std::int64_t batch = job.tiles.quotient(blockIdx.x, job.wide);
  const std::int64_t tile = static_cast<std::int64_t>(blockIdx.x) - batch * job.tiles.divisor;
  const std::int64_t down = job.tiles_n.quotient(tile, job.wide);
  const auto m0 = static_cast<std::int32_t>(down * kSide), n0 = static_cast<std::int32_t>((tile - down * job.tiles_n.divisor) * kSide);
  const std::int64_t outer = job.batch2.quotient(batch, job.wide), i2 = batch - outer * job.batch2.divisor;
  const std::int64_t i0 = job.batch1.quotient(outer, job.wide), i1 = outer - i0 * job.batch1.divisor;
  const std::int64_t a_base = i0 * job.a.batch[0] + i1 * job.a.batch[1] + i2 * job.a.batch[2];
  const std::int64_t b_base = i0 * job.b.batch[0] + i1 * job.b.batch[1] + i2 * job.b.batch[2];
  const int across = static_cast<int>(threadIdx.x) % 16, downward = static_cast<int>(threadIdx.x) / 16;

  float sums[4][4] = {};
  float a_next[kLoads], b_next[kLoads];
  fetch<T>(job.a, a_base, m0, 0, job.k, a_next);
  fetch<T>(job.b, b_base, n0, 0, job.k, b_next);
  for (std::int32_t k0 = 0; k0 < job.k; k0 += kDepth) {
    put(job.a, a_tile, a_next);
    put(job.b, b_tile, b_next);
    __syncthreads();
    if (k0 + kDepth < job.k) {
      fetch<T>(job.a, a_base, m0, k0 + kDepth, job.k, a_next);
      fetch<T>(job.b, b_base, n0, k0 + kDepth, job.k, b_next);
    }
#pragma unroll
    for (int kk = 0; kk < kDepth; kk++) {
      float a[4], b[4];
      take(a_tile + kk * kPitch, downward, a);
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
    const std::int32_t m = m0 + 2 * downward + i % 2 + 32 * (i / 2);
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const std::int32_t n = n0 + 2 * across + j % 2 + 32 * (j / 2);
      const float value[1] = {job.alpha * sums[i][j]};
      if (m < job.a.extent && n < job.b.extent) store<T>(job.out, job.out_float, (batch * job.a.extent + m) * job.b.extent + n, value);
    }
  }
}

}  // namespace

void batched_matmul(const BatchedMatmul& args, rt::Stream stream) {
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
  with_element(args.precision, [&]<class T>(Element<T>) {
    launch("batched_matmul", batched_matmul_kernel<T>, dim3(static_cast<unsigned>(tiles * batch)), dim3(kBlock), 2 * kDepth * kPitch * sizeof(float), stream,
           job);
  });
}

}  // namespace signstep::kernels
