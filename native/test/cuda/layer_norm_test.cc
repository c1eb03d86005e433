// LayerNorm and RMSNorm, forward and backward, against float64.
#include "device_case.h"

using namespace device_case;
using signstep::kernels::LayerNorm;
using signstep::kernels::LayerNormBackward;

namespace {

constexpr Precision kPrecisions[] = {Precision::bf16, Precision::fp16, Precision::float32};
constexpr float kEpsilon = 1e-6f;

// 192 to 2050: one, two and three chunks of 16 bytes a thread, several warps a row; 7 and 197: no 16-byte rows; 6,200 and 2,050: beyond the
// registers, with and without 16-byte rows.
constexpr std::int32_t kColumns[] = {7, 64, 192, 197, 384, 768, 1024, 1280, 2048, 2050, 6200};

double at(const std::vector<float>& values, std::size_t row, std::size_t columns, std::size_t column) {
  return values[row * columns + column];
}

struct Normalised {
  std::vector<double> y, rstd;
};

Normalised normalise(const std::vector<float>& x, std::size_t rows, std::size_t columns, bool rms) {
  Normalised out;
  for (std::size_t r = 0; r < rows; r++) {
    double mean = 0, variance = 0;
    for (std::size_t c = 0; c < columns && !rms; c++) mean += at(x, r, columns, c) / static_cast<double>(columns);
    for (std::size_t c = 0; c < columns; c++) variance += std::pow(at(x, r, columns, c) - mean, 2) / static_cast<double>(columns);
    const double rstd = 1 / std::sqrt(variance + static_cast<double>(kEpsilon));
    out.rstd.push_back(rstd);
    for (std::size_t c = 0; c < columns; c++) out.y.push_back((at(x, r, columns, c) - mean) * rstd);
  }
  return out;
}

std::vector<float> all_rounded(std::vector<float> values, Precision precision) {
  for (float& value : values) value = rounded(value, precision);
  return values;
}

// What may be lost beyond rounding the result: half of that again, and float32 arithmetic.
double bound(const std::vector<double>& reference, Precision precision) { return 1.5 * rounding_error(reference, precision) + 1e-6; }

template <class T>
std::vector<T> head(std::vector<T> values, std::size_t count) {
  values.resize(count);
  return values;
}

}  // namespace

TEST("layer_norm is within rounding of the exact rows, mean of 20 deviations and outliers included") {
  std::mt19937 random(1);
  for (const Precision precision : kPrecisions) {
    for (const std::int32_t columns : kColumns) {
      for (const bool rms : {false, true}) {
        const std::size_t rows = columns > 1000 ? 3 : 11, width = static_cast<std::size_t>(columns);
        const std::vector<float> x = all_rounded(normal(rows, width, random, rms ? 0.5f : 5.0f, 0.25f, 61), precision);
        const Normalised expected = normalise(x, rows, width, rms);
        const Values input(x, precision);
        const int schedules = columns == 768 || columns == 1280 || columns == 6200 ? 4 : 1;
        under_schedules(
            [&](int) {
              Values y(rows * width, precision);
              Array<float> rstd(rows);
              LayerNorm args;
              args.precision = precision, args.x = input.data(), args.y = y.data(), args.rstd = rstd.data();
              args.rows = static_cast<std::int64_t>(rows), args.columns = columns, args.rms = rms, args.epsilon = kEpsilon;
              signstep::kernels::layer_norm(args, nullptr);
              EXPECT(relative_error(y.host(), expected.y) <= bound(expected.y, precision));
              EXPECT(relative_error(rstd.host(), expected.rstd) <= 1e-5);
            },
            schedules);
      }
    }
  }
}

TEST("layer_norm_backward is within rounding of the exact gradient, with and without an addend") {
  std::mt19937 random(2);
  for (const Precision precision : kPrecisions) {
    for (const std::int32_t columns : kColumns) {
      for (const int variant : {0, 1, 2}) {  // plain, with an addend, rms with an addend
        const bool rms = variant == 2, add = variant > 0;
        const std::size_t rows = columns > 1000 ? 3 : 11, width = static_cast<std::size_t>(columns);
        const std::vector<float> y = all_rounded(normal(rows, width, random, 0.1f), precision);
        const std::vector<float> dy = all_rounded(normal(rows, width, random, 0.5f, 1, 61), precision);
        const std::vector<float> addend = all_rounded(normal(rows, width, random, 1), precision);
        std::vector<float> rstd = normal(rows, 1, random, 2, 0.1f);
        std::vector<double> expected;
        for (std::size_t r = 0; r < rows; r++) {
          double mean = 0, slope = 0;
          for (std::size_t c = 0; c < width; c++) {
            mean += rms ? 0 : at(dy, r, width, c) / columns;
            slope += at(dy, r, width, c) * at(y, r, width, c) / columns;
          }
          for (std::size_t c = 0; c < width; c++) {
            const double dx = static_cast<double>(rstd[r]) * (at(dy, r, width, c) - mean - at(y, r, width, c) * slope);
            expected.push_back(dx + (add ? at(addend, r, width, c) : 0));
          }
        }
        const Values dy_in(dy, precision), y_in(y, precision), addend_in(addend, precision);
        const Array<float> rstd_in(rstd);
        const int schedules = columns == 768 || columns == 1280 || columns == 6200 ? 4 : 1;
        under_schedules(
            [&](int) {
              Values dx(rows * width, precision);
              LayerNormBackward args;
              args.precision = precision, args.dy = dy_in.data(), args.y = y_in.data(), args.rstd = rstd_in.data(), args.dx = dx.data();
              args.addend = add ? addend_in.data() : nullptr;
              args.rows = static_cast<std::int64_t>(rows), args.columns = columns, args.rms = rms;
              signstep::kernels::layer_norm_backward(args, nullptr);
              EXPECT(relative_error(dx.host(), expected) <= bound(expected, precision));
            },
            schedules);
      }
    }
  }
}

TEST("layer_norm leaves the rows of images that are no longer under attack alone") {
  std::mt19937 random(3);
  for (const std::int32_t columns : {64, 1280, 6200}) {
    const std::size_t rows = 15, width = static_cast<std::size_t>(columns), live = 2 * 5;
    const std::vector<float> x = normal(rows, width, random, 1);
    const Normalised expected = normalise(x, rows, width, false);
    const Values input(x, Precision::float32);
    const Array<std::int32_t> count(std::vector<std::int32_t>{2});
    under_schedules([&](int) {
      Values y(rows * width, Precision::float32), dx(rows * width, Precision::float32);
      Array<float> rstd(rows);
      LayerNorm args;
      args.precision = Precision::float32, args.x = input.data(), args.y = y.data(), args.rstd = rstd.data();
      args.rows = static_cast<std::int64_t>(rows), args.columns = columns, args.epsilon = kEpsilon;
      args.live = {count.data(), 5};
      signstep::kernels::layer_norm(args, nullptr);
      const std::vector<float> out = y.host();
      EXPECT(relative_error(head(out, live * width), head(expected.y, live * width)) < 1e-5);
      for (std::size_t i = live * width; i < out.size(); i++) {
        if (!std::isnan(out[i])) return EXPECT(!"a row beyond the live ones was written");
      }
      LayerNormBackward back;
      back.precision = Precision::float32, back.dy = input.data(), back.y = y.data(), back.rstd = rstd.data(), back.dx = dx.data();
      back.rows = args.rows, back.columns = columns, back.live = args.live;
      signstep::kernels::layer_norm_backward(back, nullptr);
      const std::vector<float> gradient = dx.host();
      EXPECT(!std::isnan(gradient[live * width - 1]));
      EXPECT(std::isnan(gradient[live * width]) && std::isnan(gradient.back()));
    });
  }
}
