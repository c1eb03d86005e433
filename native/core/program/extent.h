// Integers of a plan, which may be anything: sums and products that throw PlanError instead of overflowing.
#pragma once

#include <cstdint>
#include <string>

#include "program.h"

namespace signstep::program {

// More elements than any device holds; small enough that a product with a batch size below 2^14 cannot overflow.
inline constexpr std::int64_t kMostElements = std::int64_t{1} << 48;

inline std::int64_t bounded(std::int64_t value) {
  if (value > kMostElements || value < -kMostElements)
    throw PlanError{"a size of " + std::to_string(value) + ": expected at most 2^48"};
  return value;
}
inline std::int64_t times(std::int64_t a, std::int64_t b) {
  std::int64_t product;
  if (__builtin_mul_overflow(a, b, &product)) throw PlanError{"a size that overflows: expected at most 2^48 elements"};
  return bounded(product);
}
inline std::int64_t plus(std::int64_t a, std::int64_t b) { return bounded(bounded(a) + bounded(b)); }

// `dim` at a batch capacity.
inline std::int64_t extent(Dim dim, std::int64_t batch) { return dim >= 0 ? bounded(dim) : times(-bounded(dim), batch); }

}  // namespace signstep::program
