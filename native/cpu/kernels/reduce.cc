// Reductions over some axes of a strided operand. Each result is summed in a fixed order: the result does not depend on the threads.
#include <algorithm>
#include <limits>

#include "elements.h"

namespace signstep::kernels {
namespace {

// In float64: a sum of thousands loses nothing.
template <class T, class Next>
double fold(const T* data, const Axes& axes, const std::int64_t* strides, double start, Next next) {
  Places<1> places(axes, {strides}, 0);
  double result = start;
  for (std::int64_t left = axes.count(); left > 0;) {
    const std::int64_t n = std::min(places.run(), left), stride = places.stride(0);
    for (std::int64_t i = 0; i < n; ++i) result = next(result, static_cast<double>(to_float(data[places.at[0] + i * stride])));
    places.advance(n);
    left -= n;
  }
  return result;
}

template <class T>
double reduced(Reduction function, const T* data, const Axes& axes, const std::int64_t* strides) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  switch (function) {
    case Reduction::sum: return fold(data, axes, strides, 0, [](double a, double x) { return a + x; });
    case Reduction::mean:
      return fold(data, axes, strides, 0, [](double a, double x) { return a + x; }) / static_cast<double>(axes.count());
    case Reduction::maximum:
      return fold(data, axes, strides, -kInfinity, [](double a, double x) { return x > a || x != x ? x : a; });
    case Reduction::minimum:
      return fold(data, axes, strides, kInfinity, [](double a, double x) { return x < a || x != x ? x : a; });
    case Reduction::sum_squares: return fold(data, axes, strides, 0, [](double a, double x) { return a + x * x; });
    case Reduction::sum_magnitudes: return fold(data, axes, strides, 0, [](double a, double x) { return a + std::fabs(x); });
    case Reduction::product: return fold(data, axes, strides, 1, [](double a, double x) { return a * x; });
  }
  return 0;
}

void run(const Reduce& args) {
  Axes kept{0, {}}, over{0, {}};
  std::int64_t kept_strides[6] = {}, over_strides[6] = {};
  for (std::int32_t i = 0; i < args.rank; ++i) {
    const bool reduce_it = (args.reduced >> i & 1) != 0;
    Axes& axes = reduce_it ? over : kept;
    (reduce_it ? over_strides : kept_strides)[axes.rank] = args.strides[i];
    axes.dims[axes.rank++] = args.dims[i];
  }
  cpu::parallel_ranges(static_cast<std::size_t>(kept.count()), 16, [&](std::size_t first, std::size_t last) {
    Places<1> places(kept, {kept_strides}, static_cast<std::int64_t>(first));
    for (std::size_t at = first; at < last; ++at, places.advance(1)) {
      float result = 0;
      with_type(args.precision, args.in.type, [&]<class T>(Element<T>) {
        result = static_cast<float>(reduced(args.function, static_cast<const T*>(args.in.data) + places.at[0], over, over_strides));
      });
      with_type(args.precision, args.out.type, [&]<class T>(Element<T>) { static_cast<T*>(args.out.data)[at] = from_float<T>(result); });
    }
  });
}

}  // namespace

void reduce(const Reduce& args, rt::Stream stream) {
  if (args.rank < 0 || args.rank > 6) refuse("reduce", "expected at most 6 axes");
  cpu::submit(stream, [args] { run(args); });
}

}  // namespace signstep::kernels
