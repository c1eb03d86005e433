// u^(1/n), the same bits on every system: std::pow is not.
#pragma once

#include <cstddef>

namespace signstep {

// u in [2^-24, 1], n >= 1. Relative error below 1e-14.
double unit_root(double u, std::size_t n);

}  // namespace signstep
