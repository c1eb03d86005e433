// convolution() on the processor, in both precisions, against the oracle of windows.
#include "../window_case.h"

using namespace window_case;
using epilogue_oracle::kActivations;
using epilogue_oracle::kDerivatives;

namespace {

constexpr Precision kPrecisions[] = {Precision::bf16, Precision::float32};

Convolved whole(int images, int n, const Window& window, Precision precision) {
  return {.images = images, .n = n, .window = window, .grid = dense(window), .precision = precision};
}

}  // namespace

TEST("cpu convolution: kernels of 1 to 7, strides of 1 to 3, channels that fill cache lines and channels that do not") {
  std::mt19937 random(41);
  for (Precision precision : kPrecisions)
    for (int channels : {1, 3, 5, 8, 64, 100})
      for (int taps = 1; taps <= 7; taps++)
        for (int stride = 1; stride <= 3; stride++)
          check(whole(2, channels == 3 ? 64 : 21, square(9, 8, channels, taps, stride, taps / 2), precision), random);
}

TEST("cpu convolution: any window, many of which lie outside of the image") {
  std::mt19937 random(42);
  for (int i = 0; i < 150; i++)
    for (Precision precision : kPrecisions) check(whole(2, i % 2 == 0 ? 3 : 70, any_window(random), precision), random);
}

TEST("cpu convolution: dilated, cropped, and without a single window") {
  std::mt19937 random(43);
  for (Precision precision : kPrecisions) {
    check(whole(2, 24, square(12, 11, 32, 3, 1, 2, 2), precision), random);
    check(whole(2, 24, square(12, 11, 32, 3, 2, -2), precision), random);
    check(whole(2, 24, square(3, 3, 32, 5), precision), random);
    check(whole(1, 24, square(2, 2, 32, 3, 1, 40), precision), random);
  }
}

TEST("cpu convolution: taps so many or so long that k comes in parts") {
  std::mt19937 random(44);
  for (Precision precision : kPrecisions) {
    check(whole(1, 70, square(7, 7, 512, 3, 1, 1), precision), random);
    check(whole(1, 10, square(3, 3, 2500, 2, 1, 1), precision), random);
    check(whole(1, 10, square(20, 20, 11, 20), precision), random);
  }
}

TEST("cpu convolution: the gradient of a strided one, whose grids together write every pixel") {
  std::mt19937 random(45);
  for (Precision precision : kPrecisions)
    for (int n : {3, 5, 64}) {
      for (int y = 0; y < 2; y++)
        for (int x = 0; x < 2; x++) {
          const Window window{.height = 6, .width = 5, .channels = 64, .rows_y = 6, .rows_x = 5, .first_y = y - 1, .first_x = x - 1,
                              .taps_y = 2 - y, .taps_x = 2 - x};
          const Grid grid{.height = 12, .width = 10, .stride_y = 2, .stride_x = 2, .first_y = y, .first_x = x};
          check({.images = 3, .n = n, .window = window, .grid = grid, .precision = precision, .bias = false}, random);
          check({.images = 3, .n = n, .window = window, .grid = grid, .epilogue = Epilogue::relu_backward, .precision = precision,
                 .bias = false, .residual = true},
                random);
        }
    }
}

TEST("cpu convolution: the gradient of an image, with few columns and many taps") {
  std::mt19937 random(46);
  for (Precision precision : kPrecisions)
    for (Epilogue epilogue : {Epilogue::store, Epilogue::store_float})
      for (int n : {1, 3, 4}) {
        Convolved p = whole(3, n, square(23, 19, 64, 4, 1, 2), precision);
        p.epilogue = epilogue;
        check(p, random);
        p.grid = {.height = 3 * p.window.rows_y, .width = 2 * p.window.rows_x, .stride_y = 3, .stride_x = 2, .first_y = 1, .first_x = 1};
        p.residual = p.scale = true;
        p.live = 2;
        check(p, random);
      }
}

TEST("cpu convolution: every epilogue, at the places of the grid") {
  std::mt19937 random(47);
  for (Precision precision : kPrecisions)
    for (int channels : {5, 64}) {
      const Window window = square(9, 7, channels, 3, 1, 1);
      const Grid grid{.height = 20, .width = 22, .stride_y = 2, .stride_x = 3, .first_y = 1, .first_x = 2};
      Convolved p{.images = 2, .n = 72, .window = window, .grid = grid, .precision = precision};
      for (Epilogue epilogue : {Epilogue::store, Epilogue::store_float})
        for (int parts = 0; parts < 8; parts++) {
          p.epilogue = epilogue;
          p.bias = (parts & 1) != 0, p.scale = (parts & 2) != 0, p.residual = (parts & 4) != 0;
          check(p, random);
        }
      p.bias = true, p.scale = p.residual = false;
      for (Epilogue epilogue : kActivations)
        for (bool keep : {true, false}) {
          p.epilogue = epilogue;
          p.keep_aux = keep;
          check(p, random);
        }
      p.keep_aux = true;
      for (Epilogue epilogue : kDerivatives) {
        p.epilogue = epilogue;
        check(p, random);
      }
      p.residual = true;
      for (Epilogue epilogue : {Epilogue::relu, Epilogue::relu_backward}) {
        p.epilogue = epilogue;
        check(p, random);
      }
    }
}

TEST("cpu convolution: only the images under attack are computed, the others left alone") {
  std::mt19937 random(48);
  for (Precision precision : kPrecisions)
    for (int live : {0, 1, 3, 7}) {
      Convolved p = whole(4, 40, square(8, 9, 24, 3, 2, 1), precision);
      p.live = live;
      check(p, random);
    }
}

TEST("cpu convolution: what the kernel cannot serve is refused in words") {
  const auto refused = [](const signstep::kernels::Convolution& args) {
    try {
      convolution(args, nullptr);
    } catch (const signstep::rt::Failure& failure) {
      return failure.kind == signstep::rt::Failure::Kind::invalid && failure.message.find("convolution") != std::string::npos;
    }
    return false;
  };
  const Values some(std::vector<float>(4096, 1), Precision::bf16);
  signstep::kernels::Convolution good;
  good.product.a = some.data(), good.product.b = some.data(), good.product.out = some.data(), good.product.n = 8;
  good.images = 1;
  good.window = square(4, 4, 8, 3, 1, 1);
  good.grid = dense(good.window);
  EXPECT(!refused(good));
  auto bad = good;
  bad.product.precision = Precision::fp16;
  EXPECT(refused(bad));
  bad = good;
  bad.window.channels = 0;
  EXPECT(refused(bad));
  bad = good;
  bad.product.epilogue = Epilogue::step_linf;
  EXPECT(refused(bad));
  bad = good;
  bad.product.epilogue = Epilogue::relu_backward;
  EXPECT(refused(bad));
  bad = good;
  bad.product.epilogue = Epilogue::gelu_erf, bad.product.residual = some.data();
  EXPECT(refused(bad));
}
