#include <algorithm>
#include <cmath>
#include <limits>

#include "batch.h"
#include "harness.h"

using test::api;
using test::Batch;

TEST("distances agree with their definition in float64") {
  test::on_every_instruction_set([](const char*) {
    for (const std::size_t elements : test::kSizes) {
      Batch b(3, elements, static_cast<std::uint32_t>(elements) + 1);
      std::vector<float> linf(3, -1), l2(3, -1);
      EXPECT(api().distances(3, elements, b.x.data(), b.x0.data(), linf.data(), l2.data()) == SIGNSTEP_OK);
      for (std::size_t s = 0; s < 3; ++s) {
        double largest = 0, squares = 0;
        for (std::size_t i = s * elements; i < (s + 1) * elements; ++i) {
          const double d = double{b.x[i]} - b.x0[i];
          largest = std::max(largest, std::fabs(d));
          squares += d * d;
        }
        EXPECT(linf[s] == static_cast<float>(largest));
        EXPECT(std::fabs(l2[s] - std::sqrt(squares)) <= 1e-7 * std::sqrt(squares));
      }
    }
  });
}

TEST("a NaN anywhere makes both distances of its sample NaN, and of no other") {
  test::on_every_instruction_set([](const char*) {
    Batch b(3, 1003, 2);
    b.x[1003 + 1002] = std::numeric_limits<float>::quiet_NaN();
    std::vector<float> linf(3), l2(3);
    EXPECT(api().distances(3, 1003, b.x.data(), b.x0.data(), linf.data(), l2.data()) == SIGNSTEP_OK);
    EXPECT(std::isnan(linf[1]) && std::isnan(l2[1]));
    EXPECT(linf[0] > 0 && linf[2] > 0 && l2[0] > 0 && l2[2] > 0);
  });
}

TEST("either distance may be left out, and samples may be empty") {
  Batch b(2, 10, 3);
  float value[2] = {-1, -1};
  EXPECT(api().distances(2, 10, b.x.data(), b.x0.data(), value, nullptr) == SIGNSTEP_OK);
  EXPECT(value[0] > 0);
  EXPECT(api().distances(2, 0, nullptr, nullptr, value, nullptr) == SIGNSTEP_OK);
  EXPECT(value[0] == 0 && value[1] == 0);
}
