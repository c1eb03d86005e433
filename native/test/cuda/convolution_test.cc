// convolution() in every precision against the oracle of windows, under several orders of warps.
#include "../../cuda/kernels/convolution_dispatch.h"
#include "../window_case.h"
#if defined(SIGNSTEP_SIM)
#include "../../sim/statistics.h"
#endif

using namespace window_case;
using device_case::under_schedules;
using epilogue_oracle::kActivations;
using epilogue_oracle::kDerivatives;
using signstep::kernels::Convolution;
using signstep::kernels::GemmConfig;
using signstep::kernels::GemmCore;

namespace {

constexpr Precision kPrecisions[] = {Precision::bf16, Precision::fp16, Precision::float32};

Convolved whole(int images, int n, const Window& window, Precision precision) {
  return {.images = images, .n = n, .window = window, .grid = dense(window), .precision = precision};
}

// Under four orders of warps, each with inputs of its own.
void check_all(const Convolved& p, std::mt19937& random) {
  under_schedules([&](int) { check(p, random); });
}

bool refused(const Convolution& args, const GemmConfig* config = nullptr) {
  try {
    if (config == nullptr)
      convolution(args, nullptr);
    else
      convolution(args, nullptr, *config);
  } catch (const signstep::rt::Failure& failure) {
    return failure.kind == signstep::rt::Failure::Kind::invalid && failure.message.find("convolution") != std::string::npos;
  }
  return false;
}

}  // namespace

TEST("convolution: kernels of 1 to 4, strides of 1 to 3, in chunks of 16 bytes") {
  std::mt19937 random(61);
  for (Precision precision : kPrecisions)
    for (int taps : {1, 2, 3, 4})
      for (int stride : {1, 2, 3}) check_all(whole(1, 40, square(7, 6, taps == 3 ? 40 : 8, taps, stride, taps / 2), precision), random);
}

TEST("convolution: channels that make no chunks, as those of the image") {
  std::mt19937 random(62);
  for (Precision precision : kPrecisions) {
    check_all(whole(1, 16, square(15, 16, 3, 7, 2, 3), precision), random);
    check_all(whole(1, 70, square(5, 6, 5, 3, 1, 1), precision), random);
    check_all(whole(3, 3, square(6, 6, 1, 2, 1, 0), precision), random);
    check_all(whole(1, 24, square(9, 8, 3, 3, 1, 2, 2), precision), random);  // dilated: taps are no neighbours
  }
}

TEST("convolution: any window, many of which lie outside of the image") {
  std::mt19937 random(63);
  for (int i = 0; i < 12; i++)
    for (Precision precision : kPrecisions) check_all(whole(2, i % 2 == 0 ? 3 : 24, any_window(random), precision), random);
}

TEST("convolution: dilated, cropped, and without a single window") {
  std::mt19937 random(64);
  for (Precision precision : kPrecisions) {
    check_all(whole(1, 24, square(8, 7, 32, 3, 1, 2, 2), precision), random);
    check_all(whole(2, 24, square(10, 9, 32, 3, 2, -2), precision), random);
    check_all(whole(2, 24, square(3, 3, 32, 5), precision), random);
    check_all(whole(1, 24, square(2, 2, 32, 3, 1, 40), precision), random);
  }
}

TEST("convolution: more of k than stages, more rows and columns than a tile") {
  std::mt19937 random(65);
  for (Precision precision : kPrecisions) check_all(whole(2, 136, square(9, 8, 72, 3, 1, 1), precision), random);
}

TEST("convolution: the gradient of a strided one, whose grids together write every pixel") {
  std::mt19937 random(66);
  for (Precision precision : kPrecisions)
    for (int n : {3, 64})
      for (int y = 0; y < 2; y++)
        for (int x = 0; x < 2; x++) {
          const Window window{.height = 6, .width = 5, .channels = 32, .rows_y = 6, .rows_x = 5, .first_y = y - 1, .first_x = x - 1,
                              .taps_y = 2 - y, .taps_x = 2 - x};
          const Grid grid{.height = 12, .width = 10, .stride_y = 2, .stride_x = 2, .first_y = y, .first_x = x};
          check_all({.images = 2, .n = n, .window = window, .grid = grid, .epilogue = Epilogue::relu_backward, .precision = precision,
                     .bias = false, .residual = true},
                    random);
        }
}

TEST("convolution: every epilogue, at the places of the grid") {
  std::mt19937 random(67);
  for (Precision precision : kPrecisions)
    for (int n : {24, 13}) {  // runs of 8 columns, and no such runs
      const Window window = square(7, 5, 8, 3, 1, 1);
      const Grid grid{.height = 16, .width = 18, .stride_y = 2, .stride_x = 3, .first_y = 1, .first_x = 2};
      Convolved p{.images = 2, .n = n, .window = window, .grid = grid, .precision = precision};
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
        check_all(p, random);
      }
    }
}

TEST("convolution: only the images under attack are computed, the others left alone") {
  std::mt19937 random(68);
  for (Precision precision : kPrecisions)
    for (int live : {0, 2, 7}) {
      Convolved p = whole(4, 40, square(8, 9, 24, 3, 2, 1), precision);
      p.live = live;
      check_all(p, random);
    }
}

TEST("convolution: every kernel gives the same bits, however it reads its windows") {
  std::mt19937 random(69);
  const Window window = square(13, 11, 40, 3, 2, 1);
  const std::size_t rows = 2 * size(window_oracle::positions(window));
  for (Precision precision : kPrecisions) {
    const Values a(random_images(2 * size(window_oracle::pixels(window)), 40, random, precision), precision);
    const Values b(random_images(72, 40 * 9, random, precision), precision);
    const auto run = [&](const GemmConfig& config) {
      const Values out(rows * 72, precision);
      Convolution args;
      args.product.precision = precision;
      args.product.a = a.data(), args.product.b = b.data(), args.product.out = out.data(), args.product.n = 72;
      args.images = 2, args.window = window, args.grid = dense(window);
      convolution(args, nullptr, config);
      return out.host();
    };
    const std::vector<float> expected = run({GemmCore::mma, 64, 64, true});
    EXPECT(test::same_bits(run({GemmCore::mma, 128, 128, true}), expected));
    EXPECT(test::same_bits(run({GemmCore::mma, 64, 64, false}), expected));
  }
}

#if defined(SIGNSTEP_SIM)
TEST("convolution: no two lanes meet in a bank of shared memory") {
  std::mt19937 random(70);
  signstep::sim::take_statistics();
  for (Precision precision : kPrecisions) {
    Convolved p = whole(2, 72, square(9, 7, 40, 3, 1, 1), precision);
    p.residual = true;
    check_all(p, random);
  }
  std::uint64_t accesses = 0, conflicts = 0;
  for (const auto& [kernel, counted] : signstep::sim::take_statistics()) {
    if (kernel.find("convolution") == std::string::npos) continue;
    accesses += counted.loads + counted.stores;
    conflicts += counted.load_conflicts + counted.store_conflicts;
  }
  EXPECT(accesses > 1000);
  EXPECT(conflicts == 0);
}
#endif

TEST("convolution: what no kernel can serve is refused in words") {
  const Values some(std::vector<float>(4096, 1), Precision::bf16);
  Convolution good;
  good.product.a = some.data(), good.product.b = some.data(), good.product.out = some.data(), good.product.n = 8;
  good.images = 1;
  good.window = square(4, 4, 8, 3, 1, 1);
  good.grid = dense(good.window);
  EXPECT(!refused(good));
  Convolution bad = good;
  bad.window.channels = 0;
  EXPECT(refused(bad));
  bad = good;
  bad.grid.first_x = 1;
  EXPECT(refused(bad));
  bad = good;
  bad.images = 1 << 30;
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
  bad = good;
  bad.window = square(4, 4, 5, 3, 1, 1);
  const GemmConfig aligned{GemmCore::mma, 64, 64, true};
  EXPECT(refused(bad, &aligned));
}
