// softmax() and softmax_backward() of the processor against float64.
#include "../cuda/device_case.h"

using namespace device_case;

namespace {

constexpr Precision kPrecisions[] = {Precision::bf16, Precision::float32};
constexpr std::int32_t kColumns[] = {1, 5, 64, 197, 208, 577, 2050, 6200};

std::vector<float> all_rounded(std::vector<float> values, Precision precision) {
  for (float& value : values) value = rounded(value, precision);
  return values;
}

std::vector<double> exact(const std::vector<float>& x, std::size_t columns) {
  std::vector<double> y(x.begin(), x.end());
  for (std::size_t at = 0; at < y.size(); at += columns) {
    double largest = -INFINITY, sum = 0;
    for (std::size_t c = at; c < at + columns; c++) largest = std::max(largest, y[c]);
    for (std::size_t c = at; c < at + columns; c++) sum += y[c] = std::exp(y[c] - largest);
    for (std::size_t c = at; c < at + columns; c++) y[c] /= sum;
  }
  return y;
}

double bound(const std::vector<double>& reference, Precision precision) { return 1.5 * rounding_error(reference, precision) + 1e-6; }

std::vector<float> run(const std::vector<float>& x, std::size_t columns, Precision precision) {
  const Values in(x, precision), y(x.size(), precision);
  const auto rows = static_cast<std::int64_t>(x.size() / columns);
  signstep::kernels::softmax(precision, in.data(), y.data(), rows, static_cast<std::int32_t>(columns), nullptr);
  return y.host();
}

}  // namespace

TEST("the processor's softmax is within rounding of the exact one, scores of +-90 included") {
  std::mt19937 random(1);
  for (const Precision precision : kPrecisions) {
    for (const std::int32_t columns : kColumns) {
      const std::size_t rows = columns > 1000 ? 3 : 301, width = static_cast<std::size_t>(columns);
      const std::vector<float> x = all_rounded(normal(rows, width, random, 20, 3, 61), precision);
      const std::vector<double> expected = exact(x, width);
      EXPECT(relative_error(run(x, width, precision), expected) <= bound(expected, precision));
    }
  }
}

TEST("the processor's exponential has a relative error below 2e-7 on [-87, 0]") {
  // Of a row of 0 and x softmax is 1 / (1 + e^x) and e^x / (1 + e^x): their quotient is e^x, up to three roundings.
  double largest = 0;
  for (double x = 0; x > -87; x -= 0.0131) {
    const auto as_float = static_cast<float>(x);
    const std::vector<float> y = run({0, as_float}, 2, Precision::float32);
    const double e = std::exp(static_cast<double>(as_float));
    largest = std::max(largest, std::abs(static_cast<double>(y[1]) / static_cast<double>(y[0]) / e - 1));
  }
  EXPECT(largest < 2e-7 + 0x1p-23);
}

TEST("the processor's softmax gives 0 for -infinity, zeros for a row of nothing else, NaN for a row with NaN") {
  for (const Precision precision : kPrecisions) {
    for (const std::size_t columns : {std::size_t{5}, std::size_t{64}, std::size_t{7000}}) {
      std::vector<float> x(3 * columns, 0.5f);
      for (std::size_t c = 1; c < columns; c += 2) x[c] = -INFINITY;
      for (std::size_t c = 0; c < columns; c++) x[columns + c] = -INFINITY;
      x[2 * columns + 3] = NAN;
      const std::vector<float> y = run(x, columns, precision);
      const double kept = 1.0 / static_cast<double>((columns + 1) / 2);
      bool as_expected = true;
      for (std::size_t c = 0; c < columns; c++) {
        as_expected = as_expected && (c % 2 == 1 ? y[c] == 0 : std::fabs(static_cast<double>(y[c]) - kept) < 0.01 * kept);
        as_expected = as_expected && y[columns + c] == 0 && std::isnan(y[2 * columns + c]);
      }
      EXPECT(as_expected);
    }
  }
}

TEST("the processor's softmax_backward is within rounding of the exact gradient") {
  std::mt19937 random(2);
  for (const Precision precision : kPrecisions) {
    for (const std::int32_t columns : kColumns) {
      if (columns == 1) continue;  // exactly 0 but for the rounding of y
      const std::size_t rows = columns > 1000 ? 3 : 301, width = static_cast<std::size_t>(columns);
      const std::vector<double> soft = exact(normal(rows, width, random, 1), width);
      const std::vector<float> y = all_rounded(std::vector<float>(soft.begin(), soft.end()), precision);
      const std::vector<float> dy = all_rounded(normal(rows, width, random, 0.3f, 1, 61), precision);
      std::vector<double> expected(y.size());
      for (std::size_t at = 0; at < y.size(); at += width) {
        double sum = 0;
        for (std::size_t c = at; c < at + width; c++) sum += static_cast<double>(y[c]) * static_cast<double>(dy[c]);
        for (std::size_t c = at; c < at + width; c++) expected[c] = static_cast<double>(y[c]) * (static_cast<double>(dy[c]) - sum);
      }
      const Values y_in(y, precision), dy_in(dy, precision), dx(y.size(), precision);
      const auto count = static_cast<std::int64_t>(rows);
      signstep::kernels::softmax_backward(precision, y_in.data(), dy_in.data(), dx.data(), count, columns, nullptr);
      EXPECT(relative_error(dx.host(), expected) <= bound(expected, precision));
    }
  }
}
