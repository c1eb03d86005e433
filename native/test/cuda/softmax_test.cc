// Softmax, forward and backward, against float64.
#include "device_case.h"

using namespace device_case;

namespace {

constexpr Precision kPrecisions[] = {Precision::bf16, Precision::fp16, Precision::float32};
// On chip with 16-byte rows (64, 208, 1,024), without (5, 197, 577), in memory (2,050, 6,200).
constexpr std::int32_t kColumns[] = {1, 5, 64, 197, 208, 577, 1024, 2050, 6200};

std::vector<float> all_rounded(std::vector<float> values, Precision precision) {
  for (float& value : values) value = rounded(value, precision);
  return values;
}

std::vector<double> exact(const std::vector<float>& x, std::size_t rows, std::size_t columns) {
  std::vector<double> y(x.size());
  for (std::size_t r = 0; r < rows; r++) {
    double largest = -INFINITY, sum = 0;
    for (std::size_t c = 0; c < columns; c++) largest = std::max(largest, static_cast<double>(x[r * columns + c]));
    for (std::size_t c = 0; c < columns; c++) sum += y[r * columns + c] = std::exp(static_cast<double>(x[r * columns + c]) - largest);
    for (std::size_t c = 0; c < columns; c++) y[r * columns + c] /= sum;
  }
  return y;
}

double bound(const std::vector<double>& reference, Precision precision) { return 1.5 * rounding_error(reference, precision) + 1e-6; }

std::vector<float> run(const std::vector<float>& x, std::size_t rows, std::size_t columns, Precision precision) {
  const Values input(x, precision);
  Values y(x.size(), precision);
  signstep::kernels::softmax(precision, input.data(), y.data(), static_cast<std::int64_t>(rows), static_cast<std::int32_t>(columns),
                             nullptr);
  return y.host();
}

}  // namespace

TEST("softmax is within rounding of the exact one, scores of +-90 included") {
  std::mt19937 random(1);
  for (const Precision precision : kPrecisions) {
    for (const std::int32_t columns : kColumns) {
      const std::size_t rows = columns > 1000 ? 3 : 13, width = static_cast<std::size_t>(columns);
      const std::vector<float> x = all_rounded(normal(rows, width, random, 20, 3, 61), precision);
      const std::vector<double> expected = exact(x, rows, width);
      under_schedules([&](int) { EXPECT(relative_error(run(x, rows, width, precision), expected) <= bound(expected, precision)); },
                      columns == 197 || columns == 577 || columns == 6200 ? 4 : 1);
    }
  }
}

TEST("softmax gives 0 for -infinity, zeros for a row of nothing else, NaN for a row with NaN") {
  for (const Precision precision : kPrecisions) {
    for (const std::size_t columns : {std::size_t{5}, std::size_t{64}, std::size_t{7000}}) {
      std::vector<float> x(3 * columns, 0.5f);
      for (std::size_t c = 1; c < columns; c += 2) x[c] = -INFINITY;
      for (std::size_t c = 0; c < columns; c++) x[columns + c] = -INFINITY;
      x[2 * columns + 3] = NAN;
      under_schedules([&](int) {
        const std::vector<float> y = run(x, 3, columns, precision);
        const double kept = 1.0 / static_cast<double>((columns + 1) / 2);
        bool as_expected = true;
        for (std::size_t c = 0; c < columns; c++) {
          as_expected = as_expected && (c % 2 == 1 ? y[c] == 0 : std::fabs(static_cast<double>(y[c]) - kept) < 0.01 * kept);
          as_expected = as_expected && y[columns + c] == 0 && std::isnan(y[2 * columns + c]);
        }
        EXPECT(as_expected);
      });
    }
  }
}

TEST("softmax_backward is within rounding of the exact gradient") {
  std::mt19937 random(2);
  for (const Precision precision : kPrecisions) {
    for (const std::int32_t columns : kColumns) {
      if (columns == 1) continue;  // exactly 0 but for the rounding of y
      const std::size_t rows = columns > 1000 ? 3 : 13, width = static_cast<std::size_t>(columns);
      const std::vector<double> soft = exact(normal(rows, width, random, 1), rows, width);
      const std::vector<float> y = all_rounded(std::vector<float>(soft.begin(), soft.end()), precision);
      const std::vector<float> dy = all_rounded(normal(rows, width, random, 0.3f, 1, 61), precision);
      std::vector<double> expected(y.size());
      for (std::size_t r = 0; r < rows; r++) {
        double sum = 0;
        for (std::size_t c = 0; c < width; c++) sum += static_cast<double>(y[r * width + c]) * static_cast<double>(dy[r * width + c]);
        for (std::size_t c = 0; c < width; c++) {
          expected[r * width + c] = static_cast<double>(y[r * width + c]) * (static_cast<double>(dy[r * width + c]) - sum);
        }
      }
      const Values y_in(y, precision), dy_in(dy, precision);
      under_schedules(
          [&](int) {
            Values dx(y.size(), precision);
            signstep::kernels::softmax_backward(precision, y_in.data(), dy_in.data(), dx.data(), static_cast<std::int64_t>(rows), columns,
                                                nullptr);
            EXPECT(relative_error(dx.host(), expected) <= bound(expected, precision));
          },
          columns == 197 || columns == 577 || columns == 6200 ? 4 : 1);
    }
  }
}
