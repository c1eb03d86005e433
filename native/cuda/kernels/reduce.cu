// Sums, means, extremes and products over any axes of an array. Every result is one sum in one order, whatever else runs: no atomics. NaN
// goes through maximum and minimum, as in numpy. Over no elements: 0, NaN for the mean, -infinity, +infinity, 1.
#include "element.cuh"
#include "functions.cuh"
#include "walk.h"

namespace signstep::kernels {
namespace {

constexpr int kBlock = 256;

struct Job {
  Reduction function;
  const void* in;
  void* out;
  bool in_float, out_float;
  float length;     // elements that go into a result
  Walk<1> kept;     // results, in units of Results elements
  Walk<1> reduced;  // what goes into one, in units of Run elements
};

__device__ __forceinline__ float neutral(Reduction function) {
  switch (function) {
    case Reduction::maximum: return -INFINITY;
    case Reduction::minimum: return INFINITY;
    case Reduction::product: return 1;
    default: return 0;
  }
}

__device__ __forceinline__ float combine(Reduction function, float a, float b) {
  switch (function) {
    case Reduction::maximum: return greatest(a, b);
    case Reduction::minimum: return least(a, b);
    case Reduction::product: return a * b;
    default: return a + b;
  }
}

__device__ __forceinline__ float include(Reduction function, float sum, float x) {
  if (function == Reduction::sum_squares) return fmaf(x, x, sum);
  if (function == Reduction::sum_magnitudes) return sum + fabsf(x);
  return combine(function, sum, x);
}

__device__ __forceinline__ float conclude(const Job& job, float sum) { return job.function == Reduction::mean ? sum / job.length : sum; }

// `warps` warps a result, whose lanes run along what is reduced: for arrays whose fastest axis is reduced.
template <class T, int Run>
__global__ void __launch_bounds__(kBlock, 1) reduce_along(const Job job, const int warps) {
  const int threads = 32 * warps, place = static_cast<int>(threadIdx.x) % threads, warp = static_cast<int>(threadIdx.x) / 32;
  const std::int64_t result = static_cast<std::int64_t>(blockIdx.x) * (kBlock / threads) + static_cast<int>(threadIdx.x) / threads;
  const bool mine = result < job.kept.count;
  float sum = neutral(job.function);
  if (mine) {
    const std::int64_t first = job.kept.offset(result);
    for (std::int64_t i = place; i < job.reduced.count; i += threads) {
      float x[Run];
      load<T>(job.in, job.in_float, first + job.reduced.offset(i), x);
#pragma unroll
      for (int r = 0; r < Run; r++) sum = include(job.function, sum, x[r]);
    }
  }
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) sum = combine(job.function, sum, __shfl_xor_sync(0xFFFFFFFFu, sum, distance));
  if (warps > 1) {
    const Shared<float> slots = shared_cast<float>(dynamic_shared());
    if (threadIdx.x % 32 == 0) slots[warp] = sum;
    __syncthreads();
    if (place != 0) return;
    for (int other = 1; other < warps; other++) sum = combine(job.function, sum, slots[warp + other]);
  }
  if (!mine || place != 0) return;
  const float value[1] = {conclude(job, sum)};
  store<T>(job.out, job.out_float, result, value);
}

// A lane holds Results results that lie beside one another, a block 32 lanes of them; its warps share what is reduced: for arrays whose
// fastest axis is kept (a column sum, the mean over tokens). (Without the 1 in its bounds ptxas 13.0 spills to stay at 48 registers.)
template <class T, int Results>
__global__ void __launch_bounds__(kBlock, 1) reduce_across(const Job job, const int warps) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const std::int64_t unit = static_cast<std::int64_t>(blockIdx.x) * 32 + lane;
  const bool mine = unit < job.kept.count;
  float sums[Results];
#pragma unroll
  for (int r = 0; r < Results; r++) sums[r] = neutral(job.function);
  if (mine) {
    const std::int64_t first = job.kept.offset(unit);
    for (std::int64_t i = warp; i < job.reduced.count; i += warps) {
      float x[Results];
      load<T>(job.in, job.in_float, first + job.reduced.offset(i), x);
#pragma unroll
      for (int r = 0; r < Results; r++) sums[r] = include(job.function, sums[r], x[r]);
    }
  }
  if (warps > 1) {
    // [warp][result][lane]: a warp's 32 lanes touch 32 banks.
    const Shared<float> slots = shared_cast<float>(dynamic_shared());
#pragma unroll
    for (int r = 0; r < Results; r++) slots[(warp * Results + r) * 32 + lane] = sums[r];
    __syncthreads();
    if (warp != 0) return;
    for (int other = 1; other < warps; other++) {
#pragma unroll
      for (int r = 0; r < Results; r++) sums[r] = combine(job.function, sums[r], slots[(other * Results + r) * 32 + lane]);
    }
  }
  if (!mine) return;
#pragma unroll
  for (int r = 0; r < Results; r++) sums[r] = conclude(job, sums[r]);
  store<T>(job.out, job.out_float, unit * Results, sums);
}

// Whether `along` can be cut into runs of `width` elements that lie beside one another and are aligned.
bool allows(const Axes<1>& along, const Axes<1>& others, const void* in, std::int64_t width) {
  if (!aligned16(in) || along.strides[0][0] != 1 || along.dims[0] % width != 0) return false;
  for (int i = 1; i < along.rank; i++) {
    if (along.strides[0][i] % width != 0) return false;
  }
  for (int i = 0; i < others.rank; i++) {
    if (others.dims[i] > 1 && others.strides[0][i] % width != 0) return false;
  }
  return true;
}

Axes<1> in_units(Axes<1> axes, std::int64_t width) {
  axes.dims[0] /= width;
  axes.strides[0][0] *= width;
  return axes;
}

// Threads of a warp should read neighbours: along the axis with the smaller step.
std::int64_t step_of(const Axes<1>& axes) {
  if (axes.count() < 2) return INT64_MAX;
  return axes.strides[0][0] < 0 ? -axes.strides[0][0] : axes.strides[0][0];
}

int warps_for(std::int64_t items) { return items > 512 ? 8 : items > 256 ? 4 : items > 128 ? 2 : 1; }

}  // namespace

void reduce(const Reduce& args, rt::Stream stream) {
  require(args.rank >= 0 && args.rank <= kMaxRank, "reduce", "more than 6 axes");
  require(is_number(args.in) && is_number(args.out), "reduce", "an operand holds int32");
  Axes<1> kept, reduced;
  for (int i = args.rank - 1; i >= 0; i--) ((args.reduced >> i & 1u) != 0 ? reduced : kept).push(args.dims[i], {args.strides[i]});
  kept.finish();
  reduced.finish();
  if (kept.count() == 0) return;

  with_element(args.precision, [&]<class T>(Element<T>) {
    constexpr int N = kWide<T>;
    Job job = {};
    job.function = args.function;
    job.in = args.in.data, job.out = args.out.data;
    job.in_float = is_float(args.in), job.out_float = is_float(args.out);
    job.length = static_cast<float>(reduced.count());
    // With few results and much to reduce it pays to run along even where the step is longer.
    if (step_of(reduced) <= step_of(kept) || (kept.count() < 32 && reduced.count() > 32 * kept.count())) {
      const bool wide = allows(reduced, kept, job.in, N);
      job.kept = Walk<1>(kept);
      job.reduced = Walk<1>(wide ? in_units(reduced, N) : reduced);
      const int warps = warps_for(job.reduced.count / 4);
      launch("reduce", wide ? reduce_along<T, N> : reduce_along<T, 1>, dim3(blocks_for(job.kept.count, 8 / warps)), dim3(kBlock),
             8 * sizeof(float), stream, job, warps);
    } else {
      const bool wide = allows(kept, reduced, job.in, N) && aligned16(job.out);
      job.kept = Walk<1>(wide ? in_units(kept, N) : kept);
      job.reduced = Walk<1>(reduced);
      const int warps = job.reduced.count >= 32 ? 8 : job.reduced.count >= 8 ? 4 : 1;
      launch("reduce", wide ? reduce_across<T, N> : reduce_across<T, 1>, dim3(blocks_for(job.kept.count, 32)),
             dim3(static_cast<unsigned>(32 * warps)), static_cast<std::size_t>(32 * warps * (wide ? N : 1)) * sizeof(float), stream, job,
             warps);
    }
  });
}

}  // namespace signstep::kernels
