// out[o, j, :] = sum of in[o, i, :] over the i with index[i] = j, added in the order of the list: the gradient of gather, without atomics.
// A negative index counts from the end; one beyond the axis is left out, as gather reads nothing there.
#include "element.cuh"
#include "walk.h"

namespace signstep::kernels {
namespace {

constexpr int kBlock = 128;
constexpr int kWarps = kBlock / 32;

struct Job {
  const void* in;
  void* out;
  bool in_float, out_float;
  const std::int32_t* indices;
  std::int64_t axis, count;
  std::int64_t units;  // outer * inner, in units of N elements
  Divisor inner;       // in units
  Divisor chunks;      // blocks of one j
  bool wide;
};

// A block makes kBlock units of one j. It searches the list kBlock indices at a time; those that match are lined up in shared memory in
// their order, and every thread adds them up for its unit. (Without the 1 in its bounds ptxas 13.0 spills to stay at 48 registers.)
template <class T, int N>
__global__ void __launch_bounds__(kBlock, 1) scatter_add_kernel(const Job job) {
  const Shared<std::int32_t> matches = shared_cast<std::int32_t>(dynamic_shared());  // [kBlock], then a count a warp
  const Shared<std::int32_t> counts = matches + kBlock;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  const std::int64_t j = job.chunks.quotient(blockIdx.x, job.wide);
  const std::int64_t unit = (static_cast<std::int64_t>(blockIdx.x) - j * job.chunks.divisor) * kBlock + thread;
  const std::int64_t outer = job.inner.quotient(unit, job.wide), column = unit - outer * job.inner.divisor;
  const bool mine = unit < job.units;

  float sum[N] = {};
  for (std::int64_t begin = 0; begin < job.count; begin += kBlock) {
    const std::int64_t i = begin + thread;
    std::int64_t index = i < job.count ? job.indices[i] : -1;
    if (i < job.count && index < 0) index += job.axis;
    const bool match = i < job.count && index == j;
    const unsigned votes = __ballot_sync(0xFFFFFFFFu, match);
    if (lane == 0) counts[warp] = static_cast<std::int32_t>(__popc(votes));
    __syncthreads();
    std::int32_t before = 0, all = 0;
#pragma unroll
    for (int w = 0; w < kWarps; w++) {
      const std::int32_t here = counts[w];
      if (w < warp) before += here;
      all += here;
    }
    if (match) matches[before + static_cast<std::int32_t>(__popc(votes & ((1u << lane) - 1u)))] = thread;
    __syncthreads();
    if (mine) {
      for (std::int32_t m = 0; m < all; m++) {
        const std::int64_t row = outer * job.count + begin + matches[m];
        float x[N];
        load<T>(job.in, job.in_float, (row * job.inner.divisor + column) * N, x);
#pragma unroll
        for (int n = 0; n < N; n++) sum[n] += x[n];
      }
    }
    // The next matches are written behind the next barrier, which nobody reaches before he has read these.
  }
  if (mine) store<T>(job.out, job.out_float, ((outer * job.axis + j) * job.inner.divisor + column) * N, sum);
}

}  // namespace

void scatter_add(const Gather& args, rt::Stream stream) {
  require(is_number(args.in) && is_number(args.out), "scatter_add", "an operand holds int32");
  if (args.outer * args.axis * args.inner == 0) return;
  with_element(args.precision, [&]<class T>(Element<T>) {
    constexpr int N = kWide<T>;
    const bool wide = args.inner % N == 0 && aligned16(args.in.data) && aligned16(args.out.data);
    const std::int64_t inner = wide ? args.inner / N : args.inner;
    Job job = {};
    job.in = args.in.data, job.out = args.out.data;
    job.in_float = is_float(args.in), job.out_float = is_float(args.out);
    job.indices = args.indices;
    job.axis = args.axis, job.count = args.count;
    job.units = args.outer * inner;
    job.inner = Divisor(inner);
    const std::int64_t chunks = (job.units + kBlock - 1) / kBlock, blocks = chunks * args.axis;
    require(blocks < (std::int64_t{1} << 31), "scatter_add", "more than 2^31 blocks");
    job.chunks = Divisor(chunks);
    job.wide = chunks * kBlock >= (std::int64_t{1} << 31);
    launch("scatter_add", wide ? scatter_add_kernel<T, N> : scatter_add_kernel<T, 1>, dim3(static_cast<unsigned>(blocks)), dim3(kBlock),
           (kBlock + kWarps) * sizeof(std::int32_t), stream, job);
  });
}

}  // namespace signstep::kernels
