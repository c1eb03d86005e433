// The pools in every precision against the oracle of windows, under several orders of warps.
#include "../window_case.h"

using namespace window_case;
using device_case::under_schedules;

namespace {

constexpr Precision kPrecisions[] = {Precision::bf16, Precision::fp16, Precision::float32};

// Under four orders of warps, each with inputs of its own.
void check_all(const Pooled& p, std::mt19937& random) {
  under_schedules([&](int) { check(p, random); });
}

}  // namespace

TEST("pool: the windows of networks, at channels that fill 16 bytes and channels that do not") {
  std::mt19937 random(71);
  for (Precision precision : kPrecisions)
    for (int channels : {3, 16}) {
      check_all(Pooled{.images = 2, .window = square(13, 12, channels, 3, 2, 1), .precision = precision}, random);
      check_all(Pooled{.images = 3, .window = square(8, 8, channels, 2, 2), .precision = precision}, random);
      check_all(Pooled{.images = 2, .window = square(7, 7, channels, 7), .whole = true, .precision = precision}, random);
      check_all(Pooled{.images = 1, .window = square(9, 5, channels, 3, 1, 1, 2), .whole = true, .precision = precision}, random);
    }
}

TEST("pool: any window, many of which see nothing") {
  std::mt19937 random(72);
  for (int i = 0; i < 40; i++)
    for (Precision precision : kPrecisions) {
      const Window window = any_window(random);
      check_all(Pooled{.images = 2, .window = window, .whole = i % 2 == 0, .precision = precision}, random);
      check_all(Pooled{.images = 1, .window = window, .precision = precision, .ties = true}, random);
    }
}

TEST("pool: the gradient goes to the first of the greatest, of which NaN is one and minus infinity may be") {
  std::mt19937 random(73);
  for (Precision precision : kPrecisions) {
    check_all(Pooled{.images = 2, .window = square(16, 15, 20, 3, 2, 1), .precision = precision, .ties = true}, random);
    check_all(Pooled{.images = 1, .window = square(9, 9, 8, 4, 1, 2), .precision = precision, .ties = true}, random);
  }
}

TEST("pool: only the images under attack are computed, the others left alone") {
  std::mt19937 random(74);
  for (Precision precision : kPrecisions)
    for (int live : {0, 1, 2, 3, 9})
      check_all(Pooled{.images = 3, .window = square(6, 7, 24, 3, 2, 1), .precision = precision, .live = live}, random);
}

TEST("pool: what the kernels cannot serve is refused in words") {
  const auto refused = [](const Pool& pool) {
    const Values some(64, Precision::float32);
    try {
      max_pool_backward(pool, some.data(), some.data(), some.data(), nullptr);
    } catch (const signstep::rt::Failure& failure) {
      return failure.kind == signstep::rt::Failure::Kind::invalid && failure.message.find("max_pool_backward") != std::string::npos;
    }
    return false;
  };
  EXPECT(refused({.images = 1, .window = square(2, 2, 0, 2), .live = {}}));
  EXPECT(refused({.images = 1, .window = square(2, 2, 4, 0), .live = {}}));
  EXPECT(refused({.images = -1, .window = square(2, 2, 4, 2), .live = {}}));
}
