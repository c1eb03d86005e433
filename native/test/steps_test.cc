#include <algorithm>
#include <cmath>
#include <limits>

#include "batch.h"
#include "harness.h"

using test::api;
using test::Batch;

namespace {

constexpr double kNoBall = std::numeric_limits<double>::infinity();

double sign(double v) { return v > 0 ? 1 : v < 0 ? -1 : 0; }
double radius(float eps) { return eps < 0 ? kNoBall : eps; }

double project_linf(double x, double x0, double eps) { return std::clamp(std::clamp(x, x0 - eps, x0 + eps), 0.0, 1.0); }

// The steps as attack-semantics defines them, in float64.
std::vector<double> expected_linf(const Batch& b, double direction) {
  std::vector<double> x(b.x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t s = i / b.elements;
    x[i] = project_linf(b.x[i] + direction * b.alpha[s] * sign(b.g[i]), b.x0[i], radius(b.eps[s]));
  }
  return x;
}

std::vector<double> expected_l2(const Batch& b, double direction) {
  std::vector<double> x(b.x.size());
  for (std::size_t s = 0; s < b.count; ++s) {
    const std::size_t begin = s * b.elements, end = begin + b.elements;
    double norm = 0, distance = 0;
    for (std::size_t i = begin; i < end; ++i)
      if (std::isfinite(b.g[i])) norm += double{b.g[i]} * b.g[i];
    norm = std::max(std::sqrt(norm), 1e-12);
    for (std::size_t i = begin; i < end; ++i) {
      x[i] = b.x[i] + (std::isfinite(b.g[i]) ? direction * b.alpha[s] * b.g[i] / norm : 0);
      distance += (x[i] - b.x0[i]) * (x[i] - b.x0[i]);
    }
    const double factor = std::min(1.0, radius(b.eps[s]) / std::sqrt(distance));
    for (std::size_t i = begin; i < end; ++i) x[i] = std::clamp(b.x0[i] + factor * (x[i] - b.x0[i]), 0.0, 1.0);
  }
  return x;
}

struct Moved {
  std::vector<double> x, momentum;
};

Moved expected_momentum(const Batch& b, double direction, double decay) {
  Moved r{std::vector<double>(b.x.size()), std::vector<double>(b.x.size())};
  for (std::size_t s = 0; s < b.count; ++s) {
    const std::size_t begin = s * b.elements, end = begin + b.elements;
    double mean = 0;
    for (std::size_t i = begin; i < end; ++i)
      if (std::isfinite(b.g[i])) mean += std::fabs(b.g[i]);
    mean /= static_cast<double>(b.elements);
    for (std::size_t i = begin; i < end; ++i) {
      const bool finite = std::isfinite(b.g[i]);
      r.momentum[i] = decay * b.momentum[i] + (finite && mean > 0 ? b.g[i] / mean : 0);
      r.x[i] = project_linf(b.x[i] + (finite ? direction * b.alpha[s] * sign(r.momentum[i]) : 0), b.x0[i], radius(b.eps[s]));
    }
  }
  return r;
}

double worst_difference(const test::Floats& a, const std::vector<double>& b) {
  double worst = 0;
  for (std::size_t i = 0; i < b.size(); ++i) worst = std::max(worst, std::fabs(a[i] - b[i]));
  return worst;
}

void expect_counts(const Batch& b) {
  for (std::size_t s = 0; s < b.count; ++s) {
    std::int32_t nan = 0;
    bool zero = true;
    for (std::size_t i = s * b.elements; i < (s + 1) * b.elements; ++i) {
      nan += std::isnan(b.g[i]) ? 1 : 0;
      zero = zero && b.g[i] == 0;
    }
    EXPECT(b.nan[s] == nan);
    EXPECT(b.zero[s] == (zero ? 1 : 0));
  }
}

template <class Body>
void on_random_batches(Body body) {
  test::on_every_instruction_set([&](const char*) {
    std::uint32_t seed = 0;
    for (const std::size_t elements : test::kSizes) {
      for (const std::int32_t direction : {1, -1}) {
        ++seed;
        Batch b(1 + seed % 4, elements, seed);
        if (seed % 5 == 0) b.eps[0] = -1;
        body(b, direction);
        EXPECT(b.intact());
      }
    }
  });
}

}  // namespace

TEST("the L-infinity step agrees with its definition in float64") {
  on_random_batches([](Batch& b, std::int32_t direction) {
    const auto expected = expected_linf(b, direction);
    const auto step = b.step(direction);
    EXPECT(api().step_linf(&step) == SIGNSTEP_OK);
    EXPECT(worst_difference(b.x, expected) < 1.3e-7);
    expect_counts(b);
  });
}

TEST("the L2 step agrees with its definition in float64") {
  on_random_batches([](Batch& b, std::int32_t direction) {
    const auto expected = expected_l2(b, direction);
    const auto step = b.step(direction);
    EXPECT(api().step_l2(&step) == SIGNSTEP_OK);
    EXPECT(worst_difference(b.x, expected) < 3e-7);
    expect_counts(b);
  });
}

TEST("the momentum step agrees with its definition in float64") {
  on_random_batches([](Batch& b, std::int32_t direction) {
    const auto expected = expected_momentum(b, direction, 0.9f);
    const auto step = b.step(direction);
    EXPECT(api().step_momentum(&step) == SIGNSTEP_OK);
    for (std::size_t i = 0; i < b.x.size(); ++i) {
      EXPECT(std::fabs(b.momentum[i] - expected.momentum[i]) <= 4e-7 * std::max(1.0, std::fabs(expected.momentum[i])));
      // Where the momentum all but cancels, its sign is the rounding's.
      if (std::fabs(expected.momentum[i]) > 1e-6) EXPECT(std::fabs(b.x[i] - expected.x[i]) < 1.3e-7);
    }
    expect_counts(b);
  });
}

TEST("no iterate leaves its ball by more than float32 can help, however often it is moved") {
  test::on_every_instruction_set([](const char*) {
    Batch b(4, 5000, 77, 0);
    for (int turn = 0; turn < 20; ++turn) {
      for (std::size_t i = 0; i < b.g.size(); ++i) b.g[i] = static_cast<float>((i * 2654435761u >> 7) % 1000) - 499.5f;
      const auto step = b.step(turn % 3 == 0 ? -1 : 1);
      EXPECT(api().step_linf(&step) == SIGNSTEP_OK);
      for (std::size_t i = 0; i < b.x.size(); ++i) {
        EXPECT(std::fabs(double{b.x[i]} - b.x0[i]) - b.eps[i / b.elements] <= 3e-8);
        EXPECT(b.x[i] >= 0 && b.x[i] <= 1);
      }
    }
    for (int turn = 0; turn < 20; ++turn) {
      std::fill(b.eps.begin(), b.eps.end(), 0.5f);
      std::fill(b.alpha.begin(), b.alpha.end(), 0.4f);
      const auto step = b.step(turn % 3 == 0 ? -1 : 1);
      EXPECT(api().step_l2(&step) == SIGNSTEP_OK);
      std::vector<float> linf(4), l2(4);
      EXPECT(api().distances(4, 5000, b.x.data(), b.x0.data(), linf.data(), l2.data()) == SIGNSTEP_OK);
      for (const float d : l2) EXPECT(d <= 0.5f + 1e-6f);
    }
  });
}

TEST("zero and NaN gradients move nothing") {
  test::on_every_instruction_set([](const char*) {
    for (const float value : {0.0f, -0.0f, std::numeric_limits<float>::quiet_NaN()}) {
      Batch b(2, 333, 5);
      for (std::size_t i = 0; i < b.g.size(); ++i) {
        b.g[i] = value;
        b.momentum[i] = 0;
        b.x[i] = b.x0[i];
      }
      const auto before = b.x.copy();
      const auto step = b.step();
      for (const auto operation : {api().step_linf, api().step_l2, api().step_momentum}) {
        EXPECT(operation(&step) == SIGNSTEP_OK);
        EXPECT(test::same_bits(b.x.copy(), before));
        EXPECT(b.nan[1] == (std::isnan(value) ? 333 : 0));
        EXPECT(b.zero[1] == (std::isnan(value) ? 0 : 1));
      }
    }
  });
}

TEST("gradients at the limits of float32 give finite images") {
  constexpr float kTiny = std::numeric_limits<float>::denorm_min(), kHuge = std::numeric_limits<float>::max();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  test::on_every_instruction_set([&](const char*) {
    for (const float magnitude : {kTiny, 1e-38f, kHuge, kInfinity}) {
      Batch b(2, 1000, 6);
      for (std::size_t i = 0; i < b.g.size(); ++i) {
        b.g[i] = i % 3 == 0 ? magnitude : i % 3 == 1 ? -magnitude : 0;
        b.momentum[i] = 0;
        b.x[i] = b.x0[i];
      }
      const auto step = b.step();
      for (const auto operation : {api().step_linf, api().step_l2, api().step_momentum}) {
        EXPECT(operation(&step) == SIGNSTEP_OK);
        for (std::size_t i = 0; i < b.x.size(); ++i) EXPECT(b.x[i] >= 0 && b.x[i] <= 1 && std::isfinite(b.momentum[i]));
      }
      // An infinite gradient has a sign but no magnitude.
      EXPECT(b.nan[0] == (std::isinf(magnitude) ? 667 : 0));
    }
  });
}

TEST("a NaN pixel stays NaN instead of turning into a bound") {
  test::on_every_instruction_set([](const char*) {
    Batch b(1, 40, 7, 0);
    b.x[3] = std::numeric_limits<float>::quiet_NaN();
    b.eps[0] = 0.1f;
    const auto step = b.step();
    EXPECT(api().step_linf(&step) == SIGNSTEP_OK);
    EXPECT(std::isnan(b.x[3]) && !std::isnan(b.x[4]));
  });
}
