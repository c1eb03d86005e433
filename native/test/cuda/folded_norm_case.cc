#include "folded_norm_case.h"

#include <algorithm>

namespace device_case {
namespace {

using signstep::kernels::Epilogue;
using signstep::kernels::Gemm;
using signstep::kernels::kStatisticsColumns;
using signstep::kernels::RowStatistics;
using signstep::kernels::statistics_parts;

constexpr float kEpsilon = 1e-6f;

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

std::vector<float> rounded_all(std::vector<float> values, Precision precision) {
  for (float& value : values) value = rounded(value, precision);
  return values;
}

double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }
double activated(Epilogue kind, double x) { return kind == Epilogue::gelu_erf ? x * normal_cdf(x) : x; }
double slope(double x) { return normal_cdf(x) + x * std::exp(-x * x / 2) / std::sqrt(2 * std::acos(-1.0)); }

// Rows of the given mean with an outlier channel, and weights [features, columns] as a lowering makes them: centred, then rounded.
struct Inputs {
  Inputs(const FoldedNorm& c, std::mt19937& random)
      : rows(size(c.rows)), columns(size(c.columns)), features(size(c.features)),
        x(rounded_all(normal(rows, columns, random, c.mean, 1, 61), c.precision)), w(normal(features, columns, random, 0.02f, 0.1f)),
        bias(normal(1, features, random, 0.1f)), sums(features, 0) {
    for (std::size_t n = 0; n < features; n++) {
      double middle = 0;
      for (std::size_t k = 0; k < columns && !c.rms; k++) middle += w[n * columns + k] / static_cast<double>(columns);
      double sum = 0;
      for (std::size_t k = 0; k < columns; k++) {
        float& value = w[n * columns + k];
        value = rounded(static_cast<float>(value - middle), c.precision);
        sum += value;
      }
      sums[n] = static_cast<float>(sum);
    }
    for (std::size_t r = 0; r < rows; r++) {
      double average = 0, variance = 0;
      for (std::size_t k = 0; k < columns && !c.rms; k++) average += x[r * columns + k] / static_cast<double>(columns);
      for (std::size_t k = 0; k < columns; k++) variance += std::pow(x[r * columns + k] - average, 2) / static_cast<double>(columns);
      mean.push_back(average);
      rstd.push_back(1 / std::sqrt(variance + static_cast<double>(kEpsilon)));
    }
  }
  double normalised(std::size_t r, std::size_t k) const { return (x[r * columns + k] - mean[r]) * rstd[r]; }

  std::size_t rows, columns, features;
  std::vector<float> x, w, bias, sums;
  std::vector<double> mean, rstd;
};

// Of values as they are stored.
std::vector<double> statistics_of(const std::vector<float>& x, std::size_t rows, std::size_t columns, bool rms) {
  std::vector<double> out;
  for (std::size_t r = 0; r < rows; r++)
    for (std::size_t from = 0; from < columns; from += kStatisticsColumns) {
      const std::size_t to = std::min<std::size_t>(columns, from + kStatisticsColumns);
      double mean = 0, squares = 0;
      for (std::size_t k = from; k < to && !rms; k++) mean += x[r * columns + k] / static_cast<double>(to - from);
      for (std::size_t k = from; k < to; k++) squares += std::pow(x[r * columns + k] - mean, 2);
      out.push_back(mean);
      out.push_back(squares);
    }
  return out;
}

void compare(const char* what, const FoldedNorm& c, const std::vector<float>& found, const std::vector<double>& expected, double bound) {
  const double error = relative_error(found, expected);
  if (!(error <= bound))
    std::printf("  %s precision %u %lldx%dx%d rms %d mean %g: error %.3g, bound %.3g\n", what, static_cast<unsigned>(c.precision),
                static_cast<long long>(c.rows), c.columns, c.features, c.rms, static_cast<double>(c.mean), error, bound);
  EXPECT(error <= bound);
}

double rounding_bound(const std::vector<double>& exact, Precision precision) {
  return precision == Precision::float32 ? 2e-6 : 1.5 * rounding_error(exact, precision);
}

}  // namespace

void check_statistics(const FoldedNorm& c, std::mt19937& random, const RunGemm& run, int schedules) {
  const std::size_t rows = size(c.rows), k = size(c.features), n = size(c.columns), groups = rows / 4, stored = groups * 5;
  const Values a(normal(rows, k, random, 0.1f), c.precision), w(normal(n, k, random, 0, 0.2f), c.precision);
  const std::vector<float> residual = normal(stored, n, random, c.mean, 1, 37);
  const Values addend(residual, c.precision);
  const Array<float> bias(normal(1, n, random, 0.1f));
  for (const bool mapped : {false, true})
    under_schedules(
        [&](int) {
          const Values out(std::vector<float>(stored * n, 0.5f), c.precision);
          const Array<float> statistics(stored * size(statistics_parts(c.columns)) * 2);
          Gemm g;
          g.precision = c.precision;
          g.a = a.data(), g.b = w.data(), g.out = out.data(), g.residual = addend.data(), g.bias = bias.data();
          g.rows = static_cast<std::int64_t>(mapped ? groups * 4 : rows), g.n = c.columns, g.k = c.features;
          if (mapped) g.out_map = {.group = 4, .stride = 5, .offset = 1};
          g.statistics = statistics.data(), g.rms = c.rms;
          run(g);
          std::vector<float> found = statistics.host();
          const std::size_t a_row = size(statistics_parts(c.columns)) * 2, written = mapped ? stored : rows;
          std::vector<double> expected = statistics_of(out.host(), written, n, c.rms);
          found.resize(expected.size());
          for (std::size_t r = 0; r < written && mapped; r += 5)  // no row maps to the first of each five
            for (std::size_t i = r * a_row; i < (r + 1) * a_row; i++) {
              EXPECT(std::isnan(found[i]));
              found[i] = 0, expected[i] = 0;
            }
          compare("statistics", c, found, expected, 1e-6);
        },
        schedules);
}

void check_normalised_product(const FoldedNorm& c, std::mt19937& random, const RunGemm& run, int schedules) {
  const Inputs in(c, random);
  std::vector<double> exact, exact_aux, separate;
  for (std::size_t r = 0; r < in.rows; r++)
    for (std::size_t n = 0; n < in.features; n++) {
      double y = 0, apart = 0;
      for (std::size_t k = 0; k < in.columns; k++) {
        const double normalised = in.normalised(r, k);
        y += normalised * in.w[n * in.columns + k];
        apart += static_cast<double>(rounded(static_cast<float>(normalised), c.precision)) * in.w[n * in.columns + k];
      }
      y += in.bias[n];
      apart += in.bias[n];
      exact_aux.push_back(y);
      exact.push_back(activated(c.forward, y));
      separate.push_back(rounded(static_cast<float>(activated(c.forward, apart)), c.precision));
    }
  const double separate_error = relative_error(std::vector<float>(separate.begin(), separate.end()), exact);
  const Values x(in.x, c.precision), w(in.w, c.precision);
  const Array<float> bias(in.bias), sums(in.sums);
  const std::vector<double> expected = statistics_of(in.x, in.rows, in.columns, c.rms);
  under_schedules(
      [&](int) {
        const Array<float> statistics(expected.size());
        RowStatistics s;
        s.precision = c.precision, s.x = x.data(), s.statistics = statistics.data();
        s.rows = c.rows, s.columns = c.columns, s.rms = c.rms;
        signstep::kernels::row_statistics(s, nullptr);
        compare("row_statistics", c, statistics.host(), expected, 1e-6);

        const Values out(in.rows * in.features, c.precision), aux(in.rows * in.features, c.precision);
        Gemm g;
        g.precision = c.precision;
        g.a = x.data(), g.b = w.data(), g.out = out.data(), g.bias = bias.data();
        g.rows = c.rows, g.n = c.features, g.k = c.columns;
        g.epilogue = c.forward;
        if (c.forward != Epilogue::store) g.aux = aux.data();
        g.norm = {statistics.data(), c.rms ? nullptr : sums.data(), kEpsilon};
        run(g);
        // Accumulators of 20 deviations' mean cancel: float32 products lose a digit.
        const double bound = c.precision == Precision::float32 ? 2e-6 + 1e-6 * std::fabs(c.mean) : separate_error;
        compare("normalised product", c, out.host(), exact, bound);
        if (c.forward != Epilogue::store)
          compare("its pre-activation", c, aux.host(), exact_aux,
                  c.precision == Precision::float32 ? bound : std::max(1.5 * rounding_error(exact_aux, c.precision), bound));
      },
      schedules);
}

void check_gradient(const FoldedNorm& c, std::mt19937& random, const RunGemm& run, int schedules) {
  const Inputs in(c, random);
  // dy = (a . v) * gelu'(y) at the product's output y = LN(x) . w + bias.
  const std::size_t inner = 40, parts = size(statistics_parts(c.features));
  const std::vector<float> a = rounded_all(normal(in.rows, inner, random, 0.1f), c.precision),
                           v = rounded_all(normal(in.features, inner, random, 0.01f, 0.2f), c.precision),
                           residual = rounded_all(normal(in.rows, in.columns, random, 0.1f), c.precision);
  std::vector<float> y(in.rows * in.features);
  std::vector<double> dots(in.rows * parts, 0), dy;
  for (std::size_t r = 0; r < in.rows; r++)
    for (std::size_t n = 0; n < in.features; n++) {
      double sum = in.bias[n], g = 0;
      for (std::size_t k = 0; k < in.columns; k++) sum += in.normalised(r, k) * in.w[n * in.columns + k];
      const float stored = y[r * in.features + n] = rounded(static_cast<float>(sum), c.precision);
      for (std::size_t i = 0; i < inner; i++) g += static_cast<double>(a[r * inner + i]) * v[n * inner + i];
      dy.push_back(g * slope(stored));
      dots[r * parts + n / kStatisticsColumns] += dy.back() * (static_cast<double>(stored) - in.bias[n]);
    }
  const Values device_a(a, c.precision), device_v(v, c.precision), aux(y, c.precision), x(in.x, c.precision), addend(residual, c.precision);
  std::vector<float> turned(in.columns * in.features);
  for (std::size_t n = 0; n < in.features; n++)
    for (std::size_t k = 0; k < in.columns; k++) turned[k * in.features + n] = in.w[n * in.columns + k];
  const Values back(turned, c.precision);
  const Array<float> bias(in.bias);
  const std::vector<double> wide = statistics_of(in.x, in.rows, in.columns, c.rms);
  const Array<float> statistics(std::vector<float>(wide.begin(), wide.end()));
  under_schedules(
      [&](int) {
        const Values gradient(in.rows * in.features, c.precision);
        const Array<float> found_dots(dots.size());
        Gemm g;
        g.precision = c.precision;
        g.a = device_a.data(), g.b = device_v.data(), g.out = gradient.data(), g.aux = aux.data(), g.bias = bias.data();
        g.rows = c.rows, g.n = c.features, g.k = static_cast<int>(inner);
        g.epilogue = c.backward, g.dots = found_dots.data();
        run(g);
        compare("dy", c, gradient.host(), dy, rounding_bound(dy, c.precision));
        compare("dots", c, found_dots.host(), dots, c.precision == Precision::float32 ? 1e-5 : 3 * rounding_error(dy, c.precision));

        // From dy as it is stored.
        const std::vector<float> stored = gradient.host();
        std::vector<double> exact;
        for (std::size_t r = 0; r < in.rows; r++) {
          std::vector<double> row(in.columns, 0);
          double mean = 0, product = 0;
          for (std::size_t k = 0; k < in.columns; k++) {
            for (std::size_t n = 0; n < in.features; n++) row[k] += static_cast<double>(stored[r * in.features + n]) * in.w[n * in.columns + k];
            mean += c.rms ? 0 : row[k] / static_cast<double>(in.columns);
            product += row[k] * in.normalised(r, k) / static_cast<double>(in.columns);
          }
          for (std::size_t k = 0; k < in.columns; k++)
            exact.push_back(residual[r * in.columns + k] + in.rstd[r] * (row[k] - mean - in.normalised(r, k) * product));
        }
        for (const bool in_place : {false, true}) {
          const Values dx(in_place ? residual : std::vector<float>(residual.size(), std::numeric_limits<float>::quiet_NaN()), c.precision);
          Gemm d;
          d.precision = c.precision;
          d.a = gradient.data(), d.b = back.data(), d.out = dx.data(), d.aux = x.data();
          d.residual = in_place ? dx.data() : addend.data();
          d.rows = c.rows, d.n = c.columns, d.k = c.features;
          d.epilogue = Epilogue::norm_backward;
          d.norm = {statistics.data(), nullptr, kEpsilon};
          d.dots = found_dots.data(), d.dot_parts = static_cast<std::int32_t>(parts);
          run(d);
          compare("dx", c, dx.host(), exact, c.precision == Precision::float32 ? 1e-5 : 1.5 * rounding_error(exact, c.precision));
        }
      },
      schedules);
}

void check_swiglu(const FoldedNorm& given, bool folded, std::mt19937& random, const RunGemm& run, int schedules) {
  FoldedNorm c = given;
  c.features = 2 * given.features;
  const Inputs in(c, random);
  const std::size_t pairs = size(given.features), inner = 40, parts = size(statistics_parts(given.features));
  const auto silu = [](double x) { return x / (1 + std::exp(-x)); };
  const auto silu_slope = [](double x) {
    const double s = 1 / (1 + std::exp(-x));
    return s + x * s * (1 - s);
  };
  const std::vector<float> a = rounded_all(normal(in.rows, inner, random, 0.1f), c.precision),
                           v = rounded_all(normal(pairs, inner, random, 0.01f, 0.2f), c.precision);
  std::vector<double> exact_aux, exact, gradient, dots(in.rows * parts, 0);
  std::vector<float> stored;  // the pairs as the backward finds them
  for (std::size_t r = 0; r < in.rows; r++)
    for (std::size_t j = 0; j < pairs; j++) {
      for (std::size_t n = 2 * j; n < 2 * j + 2; n++) {
        double sum = in.bias[n];
        for (std::size_t k = 0; k < in.columns; k++)
          sum += (folded ? in.normalised(r, k) : static_cast<double>(in.x[r * in.columns + k])) * in.w[n * in.columns + k];
        exact_aux.push_back(sum);
        stored.push_back(rounded(static_cast<float>(sum), c.precision));
      }
      const std::size_t at = exact_aux.size() - 2;
      exact.push_back(silu(exact_aux[at]) * exact_aux[at + 1]);
      double g = 0;
      for (std::size_t i = 0; i < inner; i++) g += static_cast<double>(a[r * inner + i]) * v[j * inner + i];
      gradient.push_back(g * stored[at + 1] * silu_slope(stored[at]));
      gradient.push_back(g * silu(stored[at]));
      for (std::size_t i = 0; i < 2; i++)
        dots[r * parts + j / kStatisticsColumns] += gradient[at + i] * (static_cast<double>(stored[at + i]) - in.bias[2 * j + i]);
    }
  const Values x(in.x, c.precision), w(in.w, c.precision), back_a(a, c.precision), back_v(v, c.precision), kept(stored, c.precision);
  const Array<float> bias(in.bias), sums(in.sums);
  const std::vector<double> wide = statistics_of(in.x, in.rows, in.columns, c.rms);
  const Array<float> statistics(std::vector<float>(wide.begin(), wide.end()));
  under_schedules(
      [&](int) {
        for (const bool keep : {true, false}) {
          const Values out(exact.size(), c.precision), aux(exact_aux.size(), c.precision);
          Gemm g;
          g.precision = c.precision;
          g.a = x.data(), g.b = w.data(), g.out = out.data(), g.bias = bias.data();
          g.rows = c.rows, g.n = c.features, g.k = c.columns;
          g.epilogue = Epilogue::swiglu;
          if (keep) g.aux = aux.data();
          if (folded) g.norm = {statistics.data(), c.rms ? nullptr : sums.data(), kEpsilon};
          run(g);
          compare("swiglu", c, out.host(), exact, rounding_bound(exact, c.precision));
          if (keep) compare("its pairs", c, aux.host(), exact_aux, rounding_bound(exact_aux, c.precision));
        }
        const Values found(gradient.size(), c.precision);
        const Array<float> found_dots(dots.size());
        Gemm d;
        d.precision = c.precision;
        d.a = back_a.data(), d.b = back_v.data(), d.out = found.data(), d.aux = kept.data();
        d.rows = c.rows, d.n = given.features, d.k = static_cast<int>(inner);
        d.epilogue = Epilogue::swiglu_backward;
        if (folded) d.dots = found_dots.data(), d.bias = bias.data();
        run(d);
        compare("swiglu_backward", c, found.host(), gradient, rounding_bound(gradient, c.precision));
        if (folded)
          compare("its dots", c, found_dots.host(), dots, c.precision == Precision::float32 ? 1e-5 : 3 * rounding_error(gradient, c.precision));
      },
      schedules);
}

}  // namespace device_case
