// Elementwise functions over strided operands, a run of the innermost axis at a time.
#include <algorithm>

#include "elements.h"

namespace signstep::kernels {
namespace {

constexpr std::int64_t kRun = 256;  // elements that are converted together

float gelu_slope(float x) { return 0.5f * (1 + std::erf(x * 0.70710678f)) + x * 0.39894228f * std::exp(-0.5f * x * x); }
float tanh_of(float x) { return std::tanh(0.79788456f * (x + 0.044715f * x * x * x)); }
float tanh_slope(float x) {
  // Beyond, the slope is 1 or 0 and the cube would overflow.
  if (std::fabs(x) > 12) return x > 0 ? 1.0f : 0.0f;
  const float t = tanh_of(x);
  return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * 0.79788456f * (1 + 3 * 0.044715f * x * x);
}
float sigmoid(float x) { return 1 / (1 + std::exp(-x)); }
float swish_slope(float x, float beta) {
  const float s = sigmoid(beta * x);
  return s + beta * x * s * (1 - s);
}

// One function over a run, its switch outside the loop.
template <class F>
void map(float* out, std::int64_t n, F f) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = f(i);
}

void apply(Function function, const float* p, std::int64_t n, const float* a, const float* b, const float* c, float* out) {
  switch (function) {
    case Function::identity: return map(out, n, [&](auto i) { return a[i]; });
    case Function::negate: return map(out, n, [&](auto i) { return -a[i]; });
    case Function::absolute: return map(out, n, [&](auto i) { return std::fabs(a[i]); });
    case Function::exponential: return map(out, n, [&](auto i) { return std::exp(a[i]); });
    case Function::logarithm: return map(out, n, [&](auto i) { return std::log(a[i]); });
    case Function::square_root: return map(out, n, [&](auto i) { return std::sqrt(a[i]); });
    case Function::reciprocal: return map(out, n, [&](auto i) { return 1 / a[i]; });
    case Function::reciprocal_square_root: return map(out, n, [&](auto i) { return 1 / std::sqrt(a[i]); });
    case Function::sigmoid: return map(out, n, [&](auto i) { return sigmoid(a[i]); });
    case Function::hyperbolic_tangent: return map(out, n, [&](auto i) { return std::tanh(a[i]); });
    case Function::error_function: return map(out, n, [&](auto i) { return std::erf(a[i]); });
    case Function::gelu_erf: return map(out, n, [&](auto i) { return 0.5f * a[i] * (1 + std::erf(a[i] * 0.70710678f)); });
    case Function::gelu_tanh: return map(out, n, [&](auto i) { return 0.5f * a[i] * (1 + tanh_of(a[i])); });
    case Function::quick_gelu: return map(out, n, [&](auto i) { return a[i] * sigmoid(1.702f * a[i]); });
    case Function::silu: return map(out, n, [&](auto i) { return a[i] * sigmoid(a[i]); });
    case Function::relu: return map(out, n, [&](auto i) { return a[i] < 0 ? 0 : a[i]; });
    case Function::sign: return map(out, n, [&](auto i) { return a[i] > 0 ? 1.0f : a[i] < 0 ? -1.0f : a[i]; });
    case Function::softplus:
      return map(out, n, [&](auto i) { return std::fmax(a[i], 0.0f) + std::log1p(std::exp(-std::fabs(a[i]))); });
    case Function::sine: return map(out, n, [&](auto i) { return std::sin(a[i]); });
    case Function::cosine: return map(out, n, [&](auto i) { return std::cos(a[i]); });
    case Function::floor: return map(out, n, [&](auto i) { return std::floor(a[i]); });
    case Function::ceiling: return map(out, n, [&](auto i) { return std::ceil(a[i]); });
    case Function::round_even: return map(out, n, [&](auto i) { return std::nearbyint(a[i]); });
    case Function::scale_shift: return map(out, n, [&](auto i) { return p[0] * a[i] + p[1]; });
    case Function::clip: return map(out, n, [&](auto i) { return a[i] < p[0] ? p[0] : a[i] > p[1] ? p[1] : a[i]; });
    case Function::leaky_relu: return map(out, n, [&](auto i) { return a[i] < 0 ? p[0] * a[i] : a[i]; });
    case Function::elu: return map(out, n, [&](auto i) { return a[i] < 0 ? p[0] * std::expm1(a[i]) : a[i]; });
    case Function::hard_sigmoid:
      return map(out, n, [&](auto i) {
        const float x = p[0] * a[i] + p[1];
        return x < 0 ? 0.0f : x > 1 ? 1.0f : x;
      });
    case Function::add: return map(out, n, [&](auto i) { return a[i] + b[i]; });
    case Function::subtract: return map(out, n, [&](auto i) { return a[i] - b[i]; });
    case Function::multiply: return map(out, n, [&](auto i) { return a[i] * b[i]; });
    case Function::divide: return map(out, n, [&](auto i) { return a[i] / b[i]; });
    case Function::power: return map(out, n, [&](auto i) { return std::pow(a[i], b[i]); });
    case Function::minimum: return map(out, n, [&](auto i) { return a[i] < b[i] || a[i] != a[i] ? a[i] : b[i]; });
    case Function::maximum: return map(out, n, [&](auto i) { return a[i] > b[i] || a[i] != a[i] ? a[i] : b[i]; });
    case Function::greater: return map(out, n, [&](auto i) { return a[i] > b[i] ? 1.0f : 0.0f; });
    case Function::greater_or_equal: return map(out, n, [&](auto i) { return a[i] >= b[i] ? 1.0f : 0.0f; });
    case Function::less: return map(out, n, [&](auto i) { return a[i] < b[i] ? 1.0f : 0.0f; });
    case Function::less_or_equal: return map(out, n, [&](auto i) { return a[i] <= b[i] ? 1.0f : 0.0f; });
    case Function::equal: return map(out, n, [&](auto i) { return a[i] == b[i] ? 1.0f : 0.0f; });
    case Function::gelu_erf_backward: return map(out, n, [&](auto i) { return b[i] * gelu_slope(a[i]); });
    case Function::gelu_tanh_backward: return map(out, n, [&](auto i) { return b[i] * tanh_slope(a[i]); });
    case Function::quick_gelu_backward: return map(out, n, [&](auto i) { return b[i] * swish_slope(a[i], 1.702f); });
    case Function::silu_backward: return map(out, n, [&](auto i) { return b[i] * swish_slope(a[i], 1); });
    case Function::relu_backward: return map(out, n, [&](auto i) { return a[i] > 0 ? b[i] : 0.0f; });
    case Function::select: return map(out, n, [&](auto i) { return a[i] != 0 ? b[i] : c[i]; });
    case Function::multiply_add: return map(out, n, [&](auto i) { return a[i] * b[i] + c[i]; });
  }
}

void gather_run(Precision precision, const Operand& from, std::int64_t at, std::int64_t stride, std::int64_t n, float* to) {
  with_type(precision, from.type, [&]<class T>(Element<T>) {
    const T* data = static_cast<const T*>(from.data) + at;
    if (stride == 1) {
      for (std::int64_t i = 0; i < n; ++i) to[i] = to_float(data[i]);
    } else {
      for (std::int64_t i = 0; i < n; ++i) to[i] = to_float(data[i * stride]);
    }
  });
}

void run(const Elementwise& args) {
  Axes axes{args.rank, {}};
  std::copy(args.dims, args.dims + 6, axes.dims);
  const Operand* operands[] = {&args.a, &args.b, &args.c};
  cpu::parallel_ranges(static_cast<std::size_t>(axes.count()), 4096, [&](std::size_t first, std::size_t last) {
    Places<3> places(axes, {args.a_strides, args.b_strides, args.c_strides}, static_cast<std::int64_t>(first));
    float in[3][kRun], out[kRun];
    for (auto at = static_cast<std::int64_t>(first), end = static_cast<std::int64_t>(last); at < end;) {
      const std::int64_t n = std::min({places.run(), kRun, end - at});
      for (int i = 0; i < 3; ++i)
        if (operands[i]->data != nullptr) gather_run(args.precision, *operands[i], places.at[i], places.stride(i), n, in[i]);
      apply(args.function, args.parameters, n, in[0], in[1], in[2], out);
      with_type(args.precision, args.out.type, [&]<class T>(Element<T>) {
        T* to = static_cast<T*>(args.out.data) + at;
        for (std::int64_t i = 0; i < n; ++i) to[i] = from_float<T>(out[i]);
      });
      places.advance(n);
      at += n;
    }
  });
}

}  // namespace

void elementwise(const Elementwise& args, rt::Stream stream) {
  if (args.rank < 0 || args.rank > 6) refuse("elementwise", "expected at most 6 axes");
  const int operands = args.function >= Function::select ? 3 : args.function >= Function::add ? 2 : 1;
  const Operand* given[] = {&args.out, &args.a, &args.b, &args.c};
  for (int i = 0; i <= operands; ++i) {
    if (given[i]->data == nullptr) refuse("elementwise", "an operand is missing");
    if (given[i]->type == program::ElementType::int32) refuse("elementwise", "expected floats, found int32");
  }
  cpu::submit(stream, [args] { run(args); });
}

}  // namespace signstep::kernels
