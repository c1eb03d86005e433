// The pools on the processor, in both precisions, against the oracle of windows.
#include "../window_case.h"

using namespace window_case;

namespace {

constexpr Precision kPrecisions[] = {Precision::bf16, Precision::float32};

}  // namespace

TEST("cpu pool: the windows of networks, at channels that fill vectors and channels that do not") {
  std::mt19937 random(51);
  for (Precision precision : kPrecisions)
    for (int channels : {1, 3, 16, 64, 100}) {
      check(Pooled{.images = 2, .window = square(13, 12, channels, 3, 2, 1), .precision = precision}, random);
      check(Pooled{.images = 3, .window = square(8, 8, channels, 2, 2), .precision = precision}, random);
      check(Pooled{.images = 2, .window = square(7, 7, channels, 7), .whole = true, .precision = precision}, random);
      check(Pooled{.images = 1, .window = square(9, 5, channels, 3, 1, 1, 2), .whole = true, .precision = precision}, random);
    }
}

TEST("cpu pool: an average of as many pixels as an image has") {
  std::mt19937 random(55);
  const Window window = square(260, 260, 5, 260);
  const std::vector<float> x = random_images(260 * 260, 5, random, Precision::float32);
  const Values device_x(x, Precision::float32), out(size(window_oracle::positions(window)) * 5, Precision::float32);
  const Pool pool{.precision = Precision::float32, .images = 1, .window = window, .live = {}};
  average_pool(pool, device_x.data(), out.data(), nullptr);
  EXPECT(relative_error(out.host(), window_oracle::average_pool(window, 1, false, x)) < 1e-5);
}

TEST("cpu pool: any window, many of which see nothing") {
  std::mt19937 random(52);
  for (int i = 0; i < 150; i++)
    for (Precision precision : kPrecisions) {
      const Window window = any_window(random);
      check(Pooled{.images = 2, .window = window, .whole = i % 2 == 0, .precision = precision}, random);
      check(Pooled{.images = 1, .window = window, .precision = precision, .ties = true}, random);
    }
}

TEST("cpu pool: the gradient goes to the first of the greatest, of which NaN is one and minus infinity may be") {
  std::mt19937 random(53);
  for (Precision precision : kPrecisions) {
    check(Pooled{.images = 2, .window = square(16, 15, 20, 3, 2, 1), .precision = precision, .ties = true}, random);
    check(Pooled{.images = 1, .window = square(9, 9, 7, 4, 1, 2), .precision = precision, .ties = true}, random);
  }
}

TEST("cpu pool: only the images under attack are computed, the others left alone") {
  std::mt19937 random(54);
  for (Precision precision : kPrecisions)
    for (int live : {0, 1, 2, 3, 9})
      check(Pooled{.images = 3, .window = square(6, 7, 24, 3, 2, 1), .precision = precision, .live = live}, random);
}

TEST("cpu pool: what the kernels cannot serve is refused in words") {
  const auto refused = [](const Pool& pool) {
    const Values some(64, Precision::float32);
    try {
      max_pool_backward(pool, some.data(), some.data(), some.data(), nullptr);
    } catch (const signstep::rt::Failure& failure) {
      return failure.kind == signstep::rt::Failure::Kind::invalid && failure.message.find("max_pool_backward") != std::string::npos;
    }
    return false;
  };
  EXPECT(refused({.precision = Precision::fp16, .images = 1, .window = square(2, 2, 4, 2), .live = {}}));
  EXPECT(refused({.images = 1, .window = square(2, 2, 0, 2), .live = {}}));
  EXPECT(refused({.images = 1, .window = square(2, 2, 4, 0), .live = {}}));
  EXPECT(refused({.images = 1, .window = square(300, 300, 4, 300), .live = {}}));
}
