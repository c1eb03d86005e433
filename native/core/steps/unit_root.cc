#include "unit_root.h"

#include <cmath>

namespace signstep {
namespace {

constexpr double kLn2 = 0.693147180559945309417;

// Series of 2·artanh((m-1)/(m+1)) = ln m with m in [√½, √2]: the argument is at most 0.172, 0.172^23 below 1e-17.
double log_positive(double u) {
  int exponent = 0;
  double m = std::frexp(u, &exponent);  // exact
  if (m < 0.70710678118654752440) {
    m *= 2;
    exponent -= 1;
  }
  const double s = (m - 1) / (m + 1), square = s * s;
  double series = 0;
  for (int k = 21; k >= 1; k -= 2) series = series * square + 1.0 / k;
  return exponent * kLn2 + 2 * s * series;
}

// Taylor's series of e^r with |r| <= ln 2 / 2, scaled by a power of two: 0.347^15 / 15! is below 1e-19.
double exp_of(double y) {
  const double k = std::floor(y / kLn2 + 0.5);
  const double r = y - k * kLn2;
  double series = 1;
  for (int i = 15; i >= 1; --i) series = 1 + series * r / i;
  return std::ldexp(series, static_cast<int>(k));  // exact
}

}  // namespace

double unit_root(double u, std::size_t n) { return exp_of(log_positive(u) / static_cast<double>(n)); }

}  // namespace signstep
