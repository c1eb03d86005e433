// layer_norm() and layer_norm_backward() of the processor against float64.
#include "../cuda/device_case.h"

using namespace device_case;
using signstep::kernels::LayerNorm;
using signstep::kernels::LayerNormBackward;

namespace {

constexpr Precision kPrecisions[] = {Precision::bf16, Precision::float32};
constexpr std::int32_t kColumns[] = {1, 7, 16, 64, 197, 384, 768, 2050, 6200};
constexpr double kEpsilon = 1e-6;

std::vector<float> all_rounded(std::vector<float> values, Precision precision) {
  for (float& value : values) value = rounded(value, precision);
  return values;
}

double bound(const std::vector<double>& reference, Precision precision) { return 1.5 * rounding_error(reference, precision) + 1e-6; }

struct Case {
  std::size_t rows, width;
  bool rms;
  double mean(const std::vector<float>& a, std::size_t row) const {
    double sum = 0;
    for (std::size_t c = 0; c < width; c++) sum += static_cast<double>(a[row * width + c]);
    return rms ? 0 : sum / static_cast<double>(width);
  }
};

}  // namespace

TEST("the processor's layer_norm is within rounding of the exact rows, mean of 20 deviations and outliers included") {
  std::mt19937 random(1);
  for (const Precision precision : kPrecisions) {
    for (const std::int32_t columns : kColumns) {
      for (const bool rms : {false, true}) {
        for (const int outliers : {0, 61}) {
          const Case sizes{columns > 1000 ? std::size_t{3} : std::size_t{301}, static_cast<std::size_t>(columns), rms};
          const std::vector<float> x = all_rounded(normal(sizes.rows, sizes.width, random, rms ? 0.5f : 5.0f, 0.25f, outliers), precision);
          std::vector<double> expected, expected_rstd;
          for (std::size_t r = 0; r < sizes.rows; r++) {
            const double mean = sizes.mean(x, r);
            double variance = 0;
            for (std::size_t c = 0; c < sizes.width; c++)
              variance += std::pow(static_cast<double>(x[r * sizes.width + c]) - mean, 2) / static_cast<double>(columns);
            expected_rstd.push_back(1 / std::sqrt(variance + kEpsilon));
            for (std::size_t c = 0; c < sizes.width; c++)
              expected.push_back((static_cast<double>(x[r * sizes.width + c]) - mean) * expected_rstd.back());
          }
          const Values in(x, precision), y(x.size(), precision), alone(x.size(), precision);
          const Array<float> rstd(sizes.rows);
          LayerNorm args;
          args.precision = precision, args.x = in.data(), args.y = y.data(), args.rstd = rstd.data();
          args.rows = static_cast<std::int64_t>(sizes.rows), args.columns = columns;
          args.rms = rms, args.epsilon = static_cast<float>(kEpsilon);
          signstep::kernels::layer_norm(args, nullptr);
          EXPECT(relative_error(y.host(), expected) <= bound(expected, precision));
          EXPECT(relative_error(rstd.host(), expected_rstd) <= 1e-5);
          args.y = alone.data(), args.rstd = nullptr;
          signstep::kernels::layer_norm(args, nullptr);
          EXPECT(test::same_bits(y.host(), alone.host()));
        }
      }
    }
  }
}

TEST("the processor's layer_norm_backward is within rounding of the exact gradient, with and without an addend") {
  std::mt19937 random(2);
  for (const Precision precision : kPrecisions) {
    for (const std::int32_t columns : kColumns) {
      for (const int variant : {0, 1, 2}) {  // plain, with an addend, rms with an addend
        const Case sizes{columns > 1000 ? std::size_t{3} : std::size_t{301}, static_cast<std::size_t>(columns), variant == 2};
        const std::vector<float> y = all_rounded(normal(sizes.rows, sizes.width, random, 0.1f), precision);
        const std::vector<float> dy = all_rounded(normal(sizes.rows, sizes.width, random, 0.5f, 1, 61), precision);
        const std::vector<float> addend = all_rounded(normal(sizes.rows, sizes.width, random, 1), precision);
        const std::vector<float> rstd = normal(sizes.rows, 1, random, 2, 0.1f);
        std::vector<double> expected;
        for (std::size_t r = 0; r < sizes.rows; r++) {
          const double mean = sizes.mean(dy, r);
          double slope = 0;
          const auto at = [&](const std::vector<float>& a, std::size_t c) { return static_cast<double>(a[r * sizes.width + c]); };
          for (std::size_t c = 0; c < sizes.width; c++) slope += at(dy, c) * at(y, c) / static_cast<double>(columns);
          for (std::size_t c = 0; c < sizes.width; c++)
            expected.push_back(static_cast<double>(rstd[r]) * (at(dy, c) - mean - at(y, c) * slope) + (variant > 0 ? at(addend, c) : 0));
        }
        const Values dy_in(dy, precision), y_in(y, precision), addend_in(addend, precision), dx(y.size(), precision);
        const Array<float> rstd_in(rstd);
        LayerNormBackward args;
        args.precision = precision, args.dy = dy_in.data(), args.y = y_in.data(), args.rstd = rstd_in.data(), args.dx = dx.data();
        args.addend = variant > 0 ? addend_in.data() : nullptr, args.rms = sizes.rms;
        args.rows = static_cast<std::int64_t>(sizes.rows), args.columns = columns;
        signstep::kernels::layer_norm_backward(args, nullptr);
        EXPECT(relative_error(dx.host(), expected) <= bound(expected, precision));
      }
    }
  }
}

TEST("the processor's layer_norm leaves the rows of finished images alone and refuses fp16") {
  std::mt19937 random(3);
  const std::size_t rows = 15, width = 64, alive = 2 * 5 * width;
  const Values x(normal(rows, width, random, 1), Precision::bf16), y(rows * width, Precision::bf16), dx(rows * width, Precision::bf16);
  const Array<float> rstd(rows);
  const Array<std::int32_t> live(std::vector<std::int32_t>{2});
  LayerNorm args;
  args.x = x.data(), args.y = y.data(), args.rstd = rstd.data(), args.rows = 15, args.columns = 64;
  args.epsilon = 1e-6f, args.live = {live.data(), 5};
  signstep::kernels::layer_norm(args, nullptr);
  LayerNormBackward back;
  back.dy = x.data(), back.y = y.data(), back.rstd = rstd.data(), back.dx = dx.data(), back.rows = 15, back.columns = 64;
  back.live = args.live;
  signstep::kernels::layer_norm_backward(back, nullptr);
  for (const Values* written : {&y, &dx}) {
    const std::vector<float> all = written->host();
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < all.size(); i++) wrong += std::isnan(all[i]) == (i < alive);
    EXPECT(wrong == 0);
  }
  args.precision = Precision::fp16;
  try {
    signstep::kernels::layer_norm(args, nullptr);
    EXPECT(!"fp16 was taken");
  } catch (const signstep::rt::Failure& failure) {
    EXPECT(failure.kind == signstep::rt::Failure::Kind::invalid);
  }
}
