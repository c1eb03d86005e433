// Index arithmetic of the strided kernels: plain C++, no device.
#include "../../cuda/kernels/walk.h"

#include <algorithm>
#include <random>

#include "../harness.h"

using signstep::kernels::Axes;
using signstep::kernels::Divisor;
using signstep::kernels::Walk;

TEST("a divisor divides every index below 2^31, and wide ones beyond") {
  std::mt19937_64 random(1);
  std::vector<std::int64_t> divisors = {
      1, 2, 3, 5, 7, 31, 32, 33, 197, 768, 65535, 65536, 65537, (1LL << 30) - 1, 1LL << 30, (1LL << 31) - 1};
  for (int i = 0; i < 200; i++) divisors.push_back(static_cast<std::int64_t>(random() >> (33 + random() % 30)) + 1);
  bool all = true;
  for (const std::int64_t d : divisors) {
    const Divisor divisor(d);
    for (int i = 0; i < 300; i++) {
      std::int64_t n = static_cast<std::int64_t>(random() >> (33 + i % 8));
      if (i < 40) n = std::min<std::int64_t>((1LL << 31) - 1, std::max<std::int64_t>(0, n / d * d + i % 3 - 1));
      all = all && divisor.quotient(n, false) == n / d;
      const std::int64_t large = static_cast<std::int64_t>(random() >> 10);
      all = all && divisor.quotient(large, true) == large / d;
    }
    all = all && divisor.quotient((1LL << 31) - 1, false) == ((1LL << 31) - 1) / d;
  }
  EXPECT(all);
  EXPECT(Divisor(1LL << 40).quotient(5LL << 40, true) == 5);
}

TEST("axes merge where every operand walks on evenly, and only there") {
  Axes<2> axes;  // [2, 3, 4, 1, 5], fastest first: a contiguous, b broadcast over the axis of 3
  axes.push(5, {1, 1});
  axes.push(1, {99, 7});
  axes.push(4, {5, 5});
  axes.push(3, {20, 0});
  axes.push(2, {60, 20});
  axes.finish();
  EXPECT(axes.rank == 3 && axes.dims[0] == 20 && axes.dims[1] == 3 && axes.dims[2] == 2 && axes.count() == 120);
  const Walk<2> walk(axes);
  bool all = true;
  for (std::int64_t i = 0; i < 120; i++) {
    std::int64_t at[2];
    walk.offsets(i, at);
    all = all && at[0] == i && at[1] == i % 20 + i / 60 * 20;
  }
  EXPECT(all);
}

TEST("a walk over more than 2^31 elements reaches the last one") {
  Axes<1> axes;
  axes.push(70'000, {1});
  axes.push(50'000, {100'000});
  axes.push(3, {-1});
  axes.finish();
  const Walk<1> walk(axes);
  EXPECT(walk.wide && walk.count == 10'500'000'000);
  EXPECT(walk.offset(walk.count - 1) == 69'999 + 49'999LL * 100'000 - 2);
  EXPECT(walk.offset(70'000LL * 50'000 + 70'001) == 1 + 100'000 - 1);
}

TEST("axes of one element each leave one axis of one element") {
  Axes<1> axes;
  axes.push(1, {4});
  axes.finish();
  EXPECT(axes.rank == 1 && axes.count() == 1 && Walk<1>(axes).offset(0) == 0);
}
