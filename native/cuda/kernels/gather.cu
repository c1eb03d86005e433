// out[o, i, :] = in[o, index[i], :]. A negative index counts from the end; one beyond the axis gives zeros, never a read out of bounds.
#include "element.cuh"
#include "walk.h"

namespace signstep::kernels {
namespace {

constexpr int kBlock = 256;

struct Job {
  const std::int32_t* indices;
  std::int64_t units;  // of out
  std::int64_t axis;
  Divisor inner, count;  // inner in units
  bool wide;
};

template <class In, class Out>
__global__ void __launch_bounds__(kBlock) gather_kernel(const In* in, Out* out, const Job job) {
  const std::int64_t unit = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x;
  if (unit >= job.units) return;
  const std::int64_t row = job.inner.quotient(unit, job.wide), column = unit - row * job.inner.divisor;
  const std::int64_t outer = job.count.quotient(row, job.wide), i = row - outer * job.count.divisor;
  std::int64_t index = job.indices[i];
  if (index < 0) index += job.axis;
  Out value = {};
  if (index >= 0 && index < job.axis) value = converted<Out>(in[(outer * job.axis + index) * job.inner.divisor + column]);
  out[unit] = value;
}

template <class In, class Out>
void gather_as(const Gather& args, std::int64_t inner, rt::Stream stream) {
  Job job = {};
  job.indices = args.indices;
  job.units = args.outer * args.count * inner;
  job.axis = args.axis;
  job.inner = Divisor(inner), job.count = Divisor(args.count);
  job.wide = job.units >= (std::int64_t{1} << 31);
  launch("gather", gather_kernel<In, Out>, dim3(blocks_for(job.units, kBlock)), dim3(kBlock), 0, stream,
         static_cast<const In*>(args.in.data), static_cast<Out*>(args.out.data), job);
}

}  // namespace

void gather(const Gather& args, rt::Stream stream) {
  require(is_number(args.in) == is_number(args.out), "gather", "int32 on one side only");
  if (args.outer * args.count * args.inner == 0) return;
  const std::size_t in_bytes = bytes_of(args.precision, args.in.type), out_bytes = bytes_of(args.precision, args.out.type);
  if (in_bytes == out_bytes) {
    const auto merged = static_cast<std::int64_t>(16 / in_bytes);
    if (args.inner % merged == 0 && aligned16(args.in.data) && aligned16(args.out.data))
      return gather_as<uint4, uint4>(args, args.inner / merged, stream);
    if (in_bytes == 4) return gather_as<std::uint32_t, std::uint32_t>(args, args.inner, stream);
    return gather_as<std::uint16_t, std::uint16_t>(args, args.inner, stream);
  }
  with_element(args.precision, [&]<class T>(Element<T>) {
    if constexpr (sizeof(T) == 2) {
      if (in_bytes == 4) return gather_as<float, T>(args, args.inner, stream);
      gather_as<T, float>(args, args.inner, stream);
    }
  });
}

}  // namespace signstep::kernels
