// Elementwise functions against float64, over contiguous, broadcast and strided operands of mixed element types.
#include <functional>
#include <memory>

#include "device_case.h"

using namespace device_case;
using signstep::kernels::Elementwise;
using signstep::kernels::Function;
using signstep::kernels::Operand;
using signstep::program::ElementType;

namespace {

constexpr Precision kPrecisions[] = {Precision::bf16, Precision::fp16, Precision::float32};
constexpr double kPi = 3.14159265358979323846;
constexpr float kP0 = 0.3f, kP1 = 0.7f;

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double gelu_tanh_inner(double x) { return std::sqrt(2 / kPi) * (x + 0.044715 * x * x * x); }
double nan_or(double a, double b, double otherwise) { return std::isnan(a) || std::isnan(b) ? NAN : otherwise; }

struct Known {
  Function function;
  std::function<double(double, double, double)> exact;
  float mean = 0, deviation = 2;
  float smallest = -INFINITY;  // of a, b and c
};

std::vector<Known> known() {
  const auto p0 = static_cast<double>(kP0), p1 = static_cast<double>(kP1);
  using F = Function;
  return {
      {F::identity, [](double a, double, double) { return a; }},
      {F::negate, [](double a, double, double) { return -a; }},
      {F::absolute, [](double a, double, double) { return std::fabs(a); }},
      {F::exponential, [](double a, double, double) { return std::exp(a); }},
      {F::logarithm, [](double a, double, double) { return std::log(a); }, 2, 1, 0.01f},
      {F::square_root, [](double a, double, double) { return std::sqrt(a); }, 2, 1, 0},
      {F::reciprocal, [](double a, double, double) { return 1 / a; }, 3, 1, 0.1f},
      {F::sigmoid, [](double a, double, double) { return sigmoid(a); }},
      {F::hyperbolic_tangent, [](double a, double, double) { return std::tanh(a); }},
      {F::error_function, [](double a, double, double) { return std::erf(a); }},
      {F::gelu_erf, [](double a, double, double) { return a / 2 * (1 + std::erf(a / std::sqrt(2.0))); }},
      {F::gelu_tanh, [](double a, double, double) { return a / 2 * (1 + std::tanh(gelu_tanh_inner(a))); }},
      {F::quick_gelu, [](double a, double, double) { return a * sigmoid(static_cast<double>(1.702f) * a); }},
      {F::silu, [](double a, double, double) { return a * sigmoid(a); }},
      {F::relu, [](double a, double, double) { return std::isnan(a) ? a : std::max(a, 0.0); }},
      {F::sign, [](double a, double, double) { return a > 0   ? 1.0
                                                      : a < 0 ? -1.0
                                                              : a; }},
      {F::softplus, [](double a, double, double) { return std::max(a, 0.0) + std::log1p(std::exp(-std::fabs(a))); }},
      {F::sine, [](double a, double, double) { return std::sin(a); }, 0, 300},
      {F::cosine, [](double a, double, double) { return std::cos(a); }, 0, 300},
      {F::floor, [](double a, double, double) { return std::floor(a); }},
      {F::ceiling, [](double a, double, double) { return std::ceil(a); }},
      {F::round_even, [](double a, double, double) { return std::nearbyint(a); }},
      {F::scale_shift, [=](double a, double, double) { return p0 * a + p1; }},
      {F::clip, [=](double a, double, double) { return std::isnan(a) ? a : std::min(std::max(a, p0), p1); }},
      {F::leaky_relu, [=](double a, double, double) { return a < 0 ? p0 * a : a; }},
      {F::elu, [=](double a, double, double) { return a < 0 ? p0 * std::expm1(a) : a; }},
      {F::hard_sigmoid, [=](double a, double, double) { return std::min(std::max(p0 * a + p1, 0.0), 1.0); }},
      {F::reciprocal_square_root, [](double a, double, double) { return 1 / std::sqrt(a); }, 2, 1, 0.01f},
      {F::add, [](double a, double b, double) { return a + b; }, 1},
      {F::subtract, [](double a, double b, double) { return a - b; }},
      {F::multiply, [](double a, double b, double) { return a * b; }},
      {F::divide, [](double a, double b, double) { return a / b; }, 3, 1, 0.1f},
      {F::power, [](double a, double b, double) { return std::pow(a, b); }, 1, 1, 0.01f},
      {F::minimum, [](double a, double b, double) { return nan_or(a, b, std::min(a, b)); }},
      {F::maximum, [](double a, double b, double) { return nan_or(a, b, std::max(a, b)); }},
      {F::greater, [](double a, double b, double) { return a > b ? 1.0 : 0.0; }},
      {F::greater_or_equal, [](double a, double b, double) { return a >= b ? 1.0 : 0.0; }},
      {F::less, [](double a, double b, double) { return a < b ? 1.0 : 0.0; }},
      {F::less_or_equal, [](double a, double b, double) { return a <= b ? 1.0 : 0.0; }},
      {F::equal, [](double a, double b, double) { return a == b ? 1.0 : 0.0; }},
      {F::gelu_erf_backward,
       [](double a, double b, double) {
         return b * ((1 + std::erf(a / std::sqrt(2.0))) / 2 + a * std::exp(-a * a / 2) / std::sqrt(2 * kPi));
       }},
      {F::gelu_tanh_backward,
       [](double a, double b, double) {
         const double t = std::tanh(gelu_tanh_inner(a));
         return b * ((1 + t) / 2 + a / 2 * (1 - t * t) * std::sqrt(2 / kPi) * (1 + 3 * 0.044715 * a * a));
       }},
      {F::quick_gelu_backward,
       [](double a, double b, double) {
         const double k = static_cast<double>(1.702f), s = sigmoid(k * a);
         return b * (s + k * a * s * (1 - s));
       }},
      {F::silu_backward,
       [](double a, double b, double) {
         const double s = sigmoid(a);
         return b * (s + a * s * (1 - s));
       }},
      {F::relu_backward, [](double a, double b, double) { return a > 0 ? b : 0.0; }},
      {F::select, [](double a, double b, double c) { return a != 0 ? b : c; }},
      {F::multiply_add, [](double a, double b, double c) { return a * b + c; }},
  };
}

// An operand on the device in either type, and what it holds there.
class Data {
 public:
  Data(std::vector<float> host, Precision precision, bool as_float)
      : precision_(as_float ? Precision::float32 : precision), values_(host, precision_), as_float_(as_float), host_(std::move(host)) {
    for (float& value : host_) value = rounded(value, precision_);
  }
  Operand operand() const { return {values_.data(), as_float_ ? ElementType::float32 : ElementType::value}; }
  const std::vector<float>& host() const { return host_; }

 private:
  Precision precision_;
  Values values_;
  bool as_float_;
  std::vector<float> host_;
};

struct Shape {
  std::vector<std::int64_t> dims;
  std::vector<std::int64_t> strides[3];
};

std::int64_t extent(const Shape& shape, int operand) {
  std::int64_t last = 0;
  for (std::size_t i = 0; i < shape.dims.size(); i++) last += (shape.dims[i] - 1) * shape.strides[operand][i];
  return last + 1;
}

void check(const Known& fact, const Shape& shape, Precision precision, const bool (&as_float)[4], std::mt19937& random, int schedules) {
  const auto code = static_cast<int>(fact.function);
  const int operands = code < 40 ? 1 : code < 80 ? 2 : 3;
  Elementwise args;
  args.precision = precision;
  args.function = fact.function;
  args.rank = static_cast<std::int32_t>(shape.dims.size());
  args.parameters[0] = kP0, args.parameters[1] = kP1;
  std::vector<std::unique_ptr<Data>> data;
  for (int o = 0; o < operands; o++) {
    std::vector<float> host = normal(static_cast<std::size_t>(extent(shape, o)), 1, random, fact.mean, fact.deviation);
    for (std::size_t i = 0; i < host.size(); i++)
      host[i] = std::max(fact.function == Function::select && i % 3 == 0 ? 0 : host[i], fact.smallest);
    if (o == 1 && fact.function != Function::divide) host[0] = data[0]->host()[0];  // something to be equal
    data.push_back(std::make_unique<Data>(std::move(host), precision, as_float[o]));
    *(o == 0 ? &args.a : o == 1 ? &args.b : &args.c) = data.back()->operand();
  }
  std::int64_t count = 1;
  for (std::size_t i = 0; i < shape.dims.size(); i++) {
    args.dims[i] = shape.dims[i];
    args.a_strides[i] = shape.strides[0][i], args.b_strides[i] = shape.strides[1][i], args.c_strides[i] = shape.strides[2][i];
    count *= shape.dims[i];
  }
  std::vector<double> expected;
  for (std::int64_t e = 0; e < count; e++) {
    std::int64_t rest = e, at[3] = {};
    for (std::size_t i = shape.dims.size(); i-- > 0; rest /= shape.dims[i]) {
      for (int o = 0; o < 3; o++) at[o] += rest % shape.dims[i] * shape.strides[o][i];
    }
    double x[3] = {};
    for (int o = 0; o < operands; o++)
      x[o] = static_cast<double>(data[static_cast<std::size_t>(o)]->host()[static_cast<std::size_t>(at[o])]);
    expected.push_back(fact.exact(x[0], x[1], x[2]));
  }
  const Precision out_precision = as_float[3] ? Precision::float32 : precision;
  under_schedules(
      [&](int) {
        Values out(static_cast<std::size_t>(count), out_precision);
        args.out = {out.data(), as_float[3] ? ElementType::float32 : ElementType::value};
        signstep::kernels::elementwise(args, nullptr);
        const double error = relative_error(out.host(), expected);
        if (!(error <= 1.5 * rounding_error(expected, out_precision) + 2e-6)) std::printf("  function %d: error %g\n", code, error);
        EXPECT(error <= 1.5 * rounding_error(expected, out_precision) + 2e-6);
      },
      schedules);
}

const Shape kContiguous = {{3, 5, 139}, {{695, 139, 1}, {695, 139, 1}, {695, 139, 1}}};  // 2,085 elements: the last unit is short
const bool kValues[4] = {false, false, false, false};

float one_result(Function function, float a, float b, float p0 = 0, float p1 = 0) {
  const Values a_in(std::vector<float>{a}, Precision::float32), b_in(std::vector<float>{b}, Precision::float32);
  Values out(1, Precision::float32);
  Elementwise args;
  args.precision = Precision::float32, args.function = function;
  args.a = {a_in.data()}, args.b = {b_in.data()}, args.out = {out.data()};
  args.parameters[0] = p0, args.parameters[1] = p1;
  signstep::kernels::elementwise(args, nullptr);
  return out.host()[0];
}

}  // namespace

TEST("every function is within rounding of the exact one in every precision") {
  std::mt19937 random(1);
  for (const Known& fact : known()) {
    for (const Precision precision : kPrecisions) check(fact, kContiguous, precision, kValues, random, 1);
  }
}

TEST("operands broadcast, stride, and mix element types in any combination") {
  std::mt19937 random(2);
  const std::vector<Shape> shapes = {
      kContiguous,
      {{4, 6, 32}, {{192, 32, 1}, {0, 0, 1}, {0, 32, 1}}},     // along leading axes: 16 bytes a thread
      {{4, 6, 32}, {{192, 32, 1}, {6, 1, 0}, {0, 0, 0}}},      // along the fastest axis, and everywhere
      {{4, 7, 33}, {{231, 33, 1}, {0, 33, 1}, {7, 1, 0}}},     // rows that are no multiple of 16 bytes
      {{8, 9, 16}, {{1, 8, 72}, {144, 16, 1}, {16, 128, 1}}},  // transposed, contiguous, permuted
      {{2, 3, 2, 3, 2, 8}, {{144, 1, 72, 3, 9, 18}, {0, 48, 0, 16, 8, 1}, {1, 2, 6, 12, 36, 0}}},
      {{5, 1, 24}, {{24, 7, 1}, {40, 0, 1}, {24, 24, 1}}},  // rows of a wider matrix
      {{4, 32}, {{33, 1}, {32, 1}, {0, 1}}},                // of an odd one
      {{1}, {{0}, {5}, {1}}},
      {{}, {}},
  };
  const bool types[][4] = {{false, false, false, false}, {true, false, true, false}, {false, true, false, true}, {true, true, true, true}};
  const std::vector<Known> facts = known();
  for (const Shape& shape : shapes) {
    for (const auto& as_float : types) {
      for (const Precision precision : kPrecisions) {
        for (const Known& fact : facts) {
          if (fact.function == Function::multiply_add || fact.function == Function::subtract)
            check(fact, shape, precision, as_float, random, 4);
        }
      }
    }
  }
}

TEST("elementwise serves arrays that are not aligned to 16 bytes") {
  std::mt19937 random(3);
  for (const Precision precision : kPrecisions) {
    const std::vector<float> host = normal(100, 1, random, 1);
    const Values in(host, precision);
    Values out(100, precision);
    Elementwise args;
    args.precision = precision, args.function = Function::negate;
    args.rank = 1, args.dims[0] = 96, args.a_strides[0] = 1;
    args.a = {static_cast<char*>(in.data()) + bytes_of(precision)};
    args.out = {static_cast<char*>(out.data()) + 3 * bytes_of(precision)};
    signstep::kernels::elementwise(args, nullptr);
    const std::vector<float> result = out.host();
    bool all = std::isnan(result[2]) && std::isnan(result[99]);
    for (std::size_t i = 0; i < 96; i++) all = all && result[i + 3] == -rounded(host[i + 1], precision);
    EXPECT(all);
  }
}

TEST("powers, NaN, infinities and large angles come out as in numpy") {
  using F = Function;
  EXPECT(one_result(F::power, -2, 3) == -8 && one_result(F::power, -2, 2) == 4 && std::isnan(one_result(F::power, -2, 0.5f)));
  EXPECT(one_result(F::power, 0, 0) == 1 && one_result(F::power, -2, -1) == -0.5f);
  EXPECT(std::isnan(one_result(F::maximum, NAN, 1)) && std::isnan(one_result(F::maximum, 1, NAN)));
  EXPECT(std::isnan(one_result(F::minimum, NAN, 1)) && std::isnan(one_result(F::minimum, 1, NAN)));
  EXPECT(std::isnan(one_result(F::clip, NAN, 0, 0, 1)) && std::isnan(one_result(F::relu, NAN, 0)));
  EXPECT(one_result(F::clip, 5, 0, 2, 1) == 1);  // an empty interval: the upper end
  EXPECT(one_result(F::sigmoid, -1000, 0) == 0 && one_result(F::sigmoid, 1000, 0) == 1);
  EXPECT(one_result(F::softplus, -30, 0) > 0 && one_result(F::softplus, 1000, 0) == 1000);
  EXPECT(one_result(F::gelu_tanh_backward, 1e20f, 2) == 2 && one_result(F::gelu_tanh_backward, -1e20f, 2) == 0);
  EXPECT(one_result(F::round_even, 2.5f, 0) == 2 && one_result(F::round_even, -1.5f, 0) == -2);
  EXPECT(std::isnan(one_result(F::sine, INFINITY, 0)) && std::isnan(one_result(F::cosine, NAN, 0)));
  for (const float x : {1e4f, -12345.678f, 3e7f, 1e12f}) {
    EXPECT(std::fabs(static_cast<double>(one_result(F::sine, x, 0)) - std::sin(static_cast<double>(x))) < 2e-7);
    EXPECT(std::fabs(static_cast<double>(one_result(F::cosine, x, 0)) - std::cos(static_cast<double>(x))) < 2e-7);
  }
}

TEST("elementwise refuses int32 and missing operands") {
  Values data(4, Precision::float32);
  Elementwise args;
  args.precision = Precision::float32, args.function = Function::add;
  args.a = {data.data()}, args.out = {data.data()};
  bool refused = false;
  try {
    signstep::kernels::elementwise(args, nullptr);
  } catch (const signstep::rt::Failure& failure) {
    refused = failure.kind == signstep::rt::Failure::Kind::invalid && failure.message.find("elementwise") == 0;
  }
  EXPECT(refused);
}
