#include <algorithm>
#include <cmath>

#include "batch.h"
#include "harness.h"

using test::api;
using test::Batch;

namespace {

// A batch whose images are all grey, so that no clamp interferes with small balls.
void make_grey(Batch& b, float eps) {
  for (std::size_t i = 0; i < b.x0.size(); ++i) b.x0[i] = 0.5f;
  std::fill(b.eps.begin(), b.eps.end(), eps);
}

double norm_of(const Batch& b, std::size_t sample) {
  double squares = 0;
  for (std::size_t i = sample * b.elements; i < (sample + 1) * b.elements; ++i) {
    const double d = double{b.x[i]} - b.x0[i];
    squares += d * d;
  }
  return std::sqrt(squares);
}

}  // namespace

TEST("a uniform start stays in the ball and the image and fills both evenly") {
  Batch b(4, 50000, 1);
  make_grey(b, 0.1f);
  const auto start = b.start();
  EXPECT(api().start_uniform(&start) == SIGNSTEP_OK);
  double sum = 0, squares = 0;
  for (std::size_t i = 0; i < b.x.size(); ++i) {
    const double d = double{b.x[i]} - 0.5;
    EXPECT(std::fabs(d) <= 0.1 + 3e-8);
    sum += d;
    squares += d * d;
  }
  const double n = static_cast<double>(b.x.size());
  EXPECT(std::fabs(sum / n) < 5 * 0.1 / std::sqrt(3 * n));                 // mean 0
  EXPECT(std::fabs(squares / n / (0.1 * 0.1 / 3) - 1) < 5 * 0.9 / std::sqrt(n));  // variance eps²/3
}

TEST("the width of a uniform start grows with scale and is clamped to the image only") {
  Batch b(1, 20000, 2);
  make_grey(b, 0.4f);
  auto start = b.start();
  start.scale = 2;
  EXPECT(api().start_uniform(&start) == SIGNSTEP_OK);
  float low = 1, high = 0;
  for (std::size_t i = 0; i < b.x.size(); ++i) {
    low = std::min(low, b.x[i]);
    high = std::max(high, b.x[i]);
  }
  EXPECT(low == 0 && high == 1);
}

TEST("a start depends on seed, sample, restart and element, and on nothing else") {
  Batch b(2, 1000, 3);
  make_grey(b, 0.1f);
  b.indices = {7, 8};
  const auto draw = [&](std::uint64_t seed, std::uint32_t restart, bool l2) {
    const auto start = b.start(seed, restart);
    EXPECT((l2 ? api().start_l2 : api().start_uniform)(&start) == SIGNSTEP_OK);
    return b.x.copy();
  };
  for (const bool l2 : {false, true}) {
    const auto first = draw(1, 0, l2);
    EXPECT(test::same_bits(first, draw(1, 0, l2)));
    EXPECT(!test::same_bits(first, draw(2, 0, l2)));
    EXPECT(!test::same_bits(first, draw(1ull << 40 | 1, 0, l2)));
    EXPECT(!test::same_bits(first, draw(1, 1, l2)));
    // The same sample at another place of the batch gets the same numbers.
    b.indices = {8, 7};
    auto swapped = draw(1, 0, l2);
    std::rotate(swapped.begin(), swapped.begin() + 1000, swapped.end());
    EXPECT(test::same_bits(first, swapped));
    b.indices = {7, 8};
  }
}

TEST("the L2 sphere start has length eps, the ball start lies inside, both never outside") {
  test::on_every_instruction_set([](const char*) {
    for (const std::size_t elements : test::kSizes) {
      Batch b(3, elements, static_cast<std::uint32_t>(elements));
      make_grey(b, 0.25f);
      auto start = b.start();
      start.sphere = 1;
      EXPECT(api().start_l2(&start) == SIGNSTEP_OK);
      for (std::size_t s = 0; s < 3; ++s) EXPECT(std::fabs(norm_of(b, s) - 0.25) < 1e-6);
      start.sphere = 0;
      EXPECT(api().start_l2(&start) == SIGNSTEP_OK);
      for (std::size_t s = 0; s < 3; ++s) EXPECT(norm_of(b, s) <= 0.25 + 1e-6);
      EXPECT(b.intact());
    }
  });
}

TEST("the radius of a ball start is eps times the d-th root of a uniform number") {
  Batch b(4000, 3, 4);
  make_grey(b, 0.25f);
  for (std::size_t s = 0; s < b.count; ++s) b.indices[s] = static_cast<std::int32_t>(s);
  const auto start = b.start();
  EXPECT(api().start_l2(&start) == SIGNSTEP_OK);
  // (|d|/eps)³ is uniform in [0,1]: compare the empirical distribution with it (Kolmogorov and Smirnov, 0.1 % level).
  std::vector<double> volume;
  for (std::size_t s = 0; s < b.count; ++s) volume.push_back(std::pow(norm_of(b, s) / 0.25, 3));
  std::sort(volume.begin(), volume.end());
  double worst = 0;
  for (std::size_t s = 0; s < b.count; ++s)
    worst = std::max(worst, std::fabs(volume[s] - (static_cast<double>(s) + 0.5) / static_cast<double>(b.count)));
  EXPECT(worst < 1.95 / std::sqrt(4000.0));
}

TEST("directions of an L2 start are Gaussian numbers by Box and Muller, to float32 accuracy") {
  // With eps = |z| the start is x0 + z: recover z from the sphere start around grey by its known norm.
  const std::size_t elements = 4096;
  std::vector<double> z(elements);
  double squares = 0;
  const std::uint32_t key[2] = {1, 0};
  for (std::size_t e = 0; e < elements; e += 2) {
    const std::uint32_t counter[4] = {static_cast<std::uint32_t>(e / 4), 11, 0, SIGNSTEP_PURPOSE_GAUSSIAN_START};
    std::uint32_t word[4];
    api().philox4x32_10(counter, key, word);
    const double u1 = ((word[e % 4] >> 8) + 1) * 0x1p-24, u2 = (word[e % 4 + 1] >> 8) * 0x1p-24;
    z[e] = std::sqrt(-2 * std::log(u1)) * std::cos(2 * M_PI * u2);
    z[e + 1] = std::sqrt(-2 * std::log(u1)) * std::sin(2 * M_PI * u2);
    squares += z[e] * z[e] + z[e + 1] * z[e + 1];
  }
  test::on_every_instruction_set([&](const char*) {
    Batch b(1, elements, 5);
    make_grey(b, 4.0f);
    b.indices = {11};
    auto start = b.start(1);
    start.sphere = 1;
    EXPECT(api().start_l2(&start) == SIGNSTEP_OK);
    double worst = 0;
    for (std::size_t e = 0; e < elements; ++e) {
      const double expected = std::clamp(0.5 + 4 * z[e] / std::sqrt(squares), 0.0, 1.0);
      worst = std::max(worst, std::fabs(b.x[e] - expected));
    }
    EXPECT(worst < 1.5e-7);
  });
}

TEST("starts in a ball of radius 0 give the image back") {
  Batch b(2, 100, 6);
  std::fill(b.eps.begin(), b.eps.end(), 0.0f);
  const auto start = b.start();
  EXPECT(api().start_uniform(&start) == SIGNSTEP_OK);
  EXPECT(test::same_bits(b.x.copy(), b.x0.copy()));
  EXPECT(api().start_l2(&start) == SIGNSTEP_OK);
  EXPECT(test::same_bits(b.x.copy(), b.x0.copy()));
}
