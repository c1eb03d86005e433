// Reductions over any axes against float64.
#include "device_case.h"

using namespace device_case;
using signstep::kernels::Reduce;
using signstep::kernels::Reduction;
using signstep::program::ElementType;

namespace {

constexpr Precision kPrecisions[] = {Precision::bf16, Precision::fp16, Precision::float32};
constexpr Reduction kReductions[] = {Reduction::sum,         Reduction::mean,           Reduction::maximum, Reduction::minimum,
                                     Reduction::sum_squares, Reduction::sum_magnitudes, Reduction::product};

struct Shape {
  std::vector<std::int64_t> dims, strides;
  std::uint32_t reduced;
};

const std::vector<Shape> kShapes = {
    {{3, 5, 32}, {160, 32, 1}, 0b100},     // along rows of 16 bytes
    {{3, 5, 33}, {165, 33, 1}, 0b100},     // and others
    {{2, 4'000}, {4'000, 1}, 0b10},        // long: a block a result
    {{2, 37, 40}, {1'480, 40, 1}, 0b010},  // the mean over tokens
    {{2, 37, 41}, {1'517, 41, 1}, 0b010},
    {{50, 300}, {300, 1}, 0b01},                // column sums over more than one block
    {{4, 6, 8, 10}, {480, 80, 10, 1}, 0b0101},  // every other axis
    {{4, 6, 8, 10}, {480, 80, 10, 1}, 0b1010},
    {{4, 6, 8, 10}, {480, 80, 10, 1}, 0b1111},  // to one number
    {{6, 7, 8}, {1, 6, 42}, 0b010},             // transposed
    {{6, 7, 8}, {0, 8, 1}, 0b101},              // broadcast
    {{3, 4'100}, {1, 3}, 0b10},                 // few results, many elements, far apart
    {{5, 6}, {6, 1}, 0b00},                     // nothing
    {{}, {}, 0},
    {{1, 4, 1}, {9, 1, 9}, 0b101},
};

double exact(Reduction function, const std::vector<double>& of) {
  double result = function == Reduction::product   ? 1
                  : function == Reduction::maximum ? -INFINITY
                  : function == Reduction::minimum ? INFINITY
                                                   : 0;
  for (const double x : of) {
    switch (function) {
      case Reduction::maximum: result = std::max(result, x); break;
      case Reduction::minimum: result = std::min(result, x); break;
      case Reduction::product: result *= x; break;
      case Reduction::sum_squares: result += x * x; break;
      case Reduction::sum_magnitudes: result += std::fabs(x); break;
      default: result += x;
    }
  }
  return function == Reduction::mean ? result / static_cast<double>(of.size()) : result;
}

std::vector<double> exact(Reduction function, const Shape& shape, const std::vector<float>& in) {
  std::int64_t count = 1;
  for (const std::int64_t dim : shape.dims) count *= dim;
  std::vector<std::vector<double>> groups;
  for (std::int64_t e = 0; e < count; e++) {
    std::int64_t rest = e, at = 0, result = 0, scale = 1;
    for (std::size_t i = shape.dims.size(); i-- > 0; rest /= shape.dims[i]) {
      const std::int64_t position = rest % shape.dims[i];
      at += position * shape.strides[i];
      if ((shape.reduced >> i & 1u) != 0) continue;
      result += position * scale;
      scale *= shape.dims[i];
    }
    if (static_cast<std::size_t>(result) >= groups.size()) groups.resize(static_cast<std::size_t>(result) + 1);
    groups[static_cast<std::size_t>(result)].push_back(static_cast<double>(in[static_cast<std::size_t>(at)]));
  }
  std::vector<double> out;
  for (const auto& group : groups) out.push_back(exact(function, group));
  return out;
}

Reduce arguments(Reduction function, const Shape& shape, Precision precision) {
  Reduce args;
  args.precision = precision, args.function = function;
  args.rank = static_cast<std::int32_t>(shape.dims.size());
  for (std::size_t i = 0; i < shape.dims.size(); i++) args.dims[i] = shape.dims[i], args.strides[i] = shape.strides[i];
  args.reduced = shape.reduced;
  return args;
}

}  // namespace

TEST("every reduction over every choice of axes is within rounding of the exact one") {
  std::mt19937 random(1);
  for (const Precision precision : kPrecisions) {
    for (const Shape& shape : kShapes) {
      for (const Reduction function : kReductions) {
        const bool product = function == Reduction::product;
        std::int64_t extent = 1;
        for (std::size_t i = 0; i < shape.dims.size(); i++) extent += (shape.dims[i] - 1) * shape.strides[i];
        std::vector<float> host = normal(static_cast<std::size_t>(extent), 1, random, 1, product ? 0.02f : 1, product ? 0 : 61);
        for (float& value : host) value = rounded(value, precision);
        const std::vector<double> expected = exact(function, shape, host);
        const Values in(host, precision);
        // 16-bit products of 4,000 numbers near 1 may leave the range: float32 there.
        for (const bool as_float : {false, true}) {
          if (!as_float && (product || function == Reduction::sum_squares) && precision == Precision::fp16) continue;
          const Precision out_precision = as_float ? Precision::float32 : precision;
          under_schedules(
              [&](int) {
                Values out(expected.size(), out_precision);
                Reduce args = arguments(function, shape, precision);
                args.in = {in.data()};
                args.out = {out.data(), as_float ? ElementType::float32 : ElementType::value};
                signstep::kernels::reduce(args, nullptr);
                const double error = relative_error(out.host(), expected);
                EXPECT(error <= 1.5 * rounding_error(expected, out_precision) + (product ? 1e-4 : 3e-6));
              },
              function == Reduction::sum ? 4 : 1);
        }
      }
    }
  }
}

TEST("NaN goes through maximum and minimum, wherever it stands") {
  for (const std::size_t place : {std::size_t{0}, std::size_t{17}, std::size_t{99}}) {
    for (const std::uint32_t reduced : {0b10u, 0b01u}) {
      std::vector<float> host(100 * 8, 1);
      host[reduced == 2 ? 3 * 100 + place : place * 8 + 3] = NAN;
      const Values in(host, Precision::float32);
      const Shape shape = reduced == 2 ? Shape{{8, 100}, {100, 1}, reduced} : Shape{{100, 8}, {8, 1}, reduced};
      for (const Reduction function : {Reduction::maximum, Reduction::minimum}) {
        Values out(8, Precision::float32);
        Reduce args = arguments(function, shape, Precision::float32);
        args.in = {in.data()}, args.out = {out.data()};
        signstep::kernels::reduce(args, nullptr);
        const std::vector<float> result = out.host();
        for (std::size_t i = 0; i < 8; i++) EXPECT(i == 3 ? std::isnan(result[i]) : result[i] == 1);
      }
    }
  }
}

TEST("a reduction over no elements gives its neutral element") {
  const Values in(1, Precision::float32);
  const std::pair<Reduction, float> cases[] = {
      {Reduction::sum, 0.0f}, {Reduction::maximum, -INFINITY}, {Reduction::minimum, INFINITY}, {Reduction::product, 1.0f}};
  for (const auto& [function, neutral] : cases) {
    Values out(3, Precision::float32);
    Reduce args = arguments(function, {{3, 0}, {0, 1}, 0b10}, Precision::float32);
    args.in = {in.data()}, args.out = {out.data()};
    signstep::kernels::reduce(args, nullptr);
    EXPECT(out.host() == std::vector<float>(3, neutral));
  }
}
