// Functions of one, two or three arrays, element by element, computed in float32. Operands broadcast by strides of 0; out is contiguous.
#include "element.cuh"
#include "functions.cuh"
#include "walk.h"

namespace signstep::kernels {
namespace {

constexpr int kBlock = 256;
constexpr int kOperands = 3;  // a, b, c

struct Job {
  Function function;
  float parameters[4];
  void* out;
  const void* data[kOperands];  // nullptr: the function does not take it
  bool out_float, is_float[kOperands];
  bool constant[kOperands];  // along the fastest axis
  std::int64_t elements;     // of out
  Walk<kOperands> walk;      // in units of N elements
};

// The last unit of a contiguous array may be shorter than N.
template <class T, int N>
__device__ __forceinline__ void load_some(const void* data, bool is_float, std::int64_t at, int count, float (&to)[N]) {
#pragma unroll
  for (int i = 0; i < N; i++) {
    float one[1] = {0};
    if (i < count) load<T>(data, is_float, at + i, one);
    to[i] = one[0];
  }
}

// A thread computes N elements that follow one another: 16 bytes of T, or one element where strides or alignment forbid more.
template <class T, int N>
__global__ void __launch_bounds__(kBlock) elementwise_kernel(const Job job) {
  const std::int64_t unit = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x;
  if (unit >= job.walk.count) return;
  const std::int64_t start = unit * N, left = job.elements - start;
  const int count = left < N ? static_cast<int>(left) : N;
  std::int64_t at[kOperands];
  job.walk.offsets(unit, at);

  float values[kOperands][N];
#pragma unroll
  for (int o = 0; o < kOperands; o++) {
    if (job.data[o] == nullptr) {
#pragma unroll
      for (int i = 0; i < N; i++) values[o][i] = 0;
    } else if (N > 1 && job.constant[o]) {
      float one[1];
      load<T>(job.data[o], job.is_float[o], at[o], one);
#pragma unroll
      for (int i = 0; i < N; i++) values[o][i] = one[0];
    } else if (N > 1 && count < N) {
      load_some<T>(job.data[o], job.is_float[o], at[o], count, values[o]);
    } else {
      load<T>(job.data[o], job.is_float[o], at[o], values[o]);
    }
  }

  apply(job.function, job.parameters, values[0], values[1], values[2]);

  if (N > 1 && count < N) {
#pragma unroll
    for (int i = 0; i < N; i++) {
      const float one[1] = {values[0][i]};
      if (i < count) store<T>(job.out, job.out_float, start + i, one);
    }
  } else {
    store<T>(job.out, job.out_float, start, values[0]);
  }
}

int operands_of(Function function) {
  const auto code = static_cast<std::uint32_t>(function);
  return code < 40 ? 1 : code < 80 ? 2 : 3;
}

// Whether every thread may take `width` elements at once.
bool allows(const Axes<kOperands>& axes, const Job& job, std::int64_t width) {
  if (!aligned16(job.out)) return false;
  if (axes.rank > 1 && axes.dims[0] % width != 0) return false;
  for (int o = 0; o < kOperands; o++) {
    if (job.data[o] == nullptr || axes.strides[o][0] == 0) continue;
    if (axes.strides[o][0] != 1 || !aligned16(job.data[o])) return false;
    for (int i = 1; i < axes.rank; i++) {
      if (axes.strides[o][i] % width != 0) return false;
    }
  }
  return true;
}

}  // namespace

void elementwise(const Elementwise& args, rt::Stream stream) {
  require(args.rank >= 0 && args.rank <= kMaxRank, "elementwise", "more than 6 axes");
  const int operands = operands_of(args.function);
  const Operand* in[kOperands] = {&args.a, &args.b, &args.c};
  const std::int64_t* strides[kOperands] = {args.a_strides, args.b_strides, args.c_strides};

  Job job = {};
  job.function = args.function;
  for (int i = 0; i < 4; i++) job.parameters[i] = args.parameters[i];
  require(is_number(args.out), "elementwise", "out holds int32");
  job.out = args.out.data;
  job.out_float = is_float(args.out);
  for (int o = 0; o < operands; o++) {
    require(in[o]->data != nullptr, "elementwise", "an operand of the function is missing");
    require(is_number(*in[o]), "elementwise", "an operand holds int32");
    job.data[o] = in[o]->data;
    job.is_float[o] = is_float(*in[o]);
  }

  Axes<kOperands> axes;
  for (int i = args.rank - 1; i >= 0; i--) {
    std::int64_t stride[kOperands] = {};
    for (int o = 0; o < operands; o++) stride[o] = args.dims[i] > 0 ? strides[o][i] : 0;
    axes.push(args.dims[i], stride);
  }
  axes.finish();
  job.elements = axes.count();
  if (job.elements == 0) return;

  with_element(args.precision, [&]<class T>(Element<T>) {
    constexpr int N = kWide<T>;
    const bool wide = allows(axes, job, N);
    if (wide) {
      axes.dims[0] = (axes.dims[0] + N - 1) / N;
      for (int o = 0; o < kOperands; o++) {
        job.constant[o] = axes.strides[o][0] == 0;
        axes.strides[o][0] *= N;
      }
    }
    job.walk = Walk<kOperands>(axes);
    launch("elementwise", wide ? elementwise_kernel<T, N> : elementwise_kernel<T, 1>, dim3(blocks_for(job.walk.count, kBlock)),
           dim3(kBlock), 0, stream, job);
  });
}

}  // namespace signstep::kernels
