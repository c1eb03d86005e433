// LayerNorm folded into the products beside it: on both matrix cores, sizes that fit no tile, rows whose mean is 20 deviations.
#include "folded_norm_case.h"

#include "../../cuda/kernels/gemm_dispatch.h"

using namespace device_case;
using signstep::kernels::Epilogue;
using signstep::kernels::Gemm;
using signstep::kernels::gemm;
using signstep::kernels::GemmConfig;
using signstep::kernels::GemmCore;

namespace {

constexpr Precision kPrecisions[] = {Precision::bf16, Precision::fp16, Precision::float32};
constexpr Precision k16Bit[] = {Precision::bf16, Precision::fp16};

void on_mma(const Gemm& g) { gemm(g, nullptr, GemmCore::mma); }
RunGemm on_wgmma(int columns) {
  return [columns](const Gemm& g) { gemm(g, nullptr, GemmConfig{GemmCore::wgmma, 128, columns, true}); };
}
RunGemm on_large_mma() {
  return [](const Gemm& g) {
    const bool single = g.precision == Precision::float32;
    gemm(g, nullptr, GemmConfig{GemmCore::mma, 128, single ? 64 : 128, true});
  };
}

}  // namespace

TEST("folded norm: a product leaves the statistics of the rows it stored, of every 64 columns") {
  std::mt19937 random(31);
  for (const Precision precision : kPrecisions)
    for (const bool rms : {false, true}) {
      check_statistics({.precision = precision, .rows = 72, .columns = 200, .features = 48, .rms = rms}, random, on_mma);
      check_statistics({.precision = precision, .rows = 40, .columns = 77, .features = 27, .rms = rms, .mean = 20}, random, on_mma, 2);
      check_statistics({.precision = precision, .rows = 140, .columns = 136, .features = 40, .rms = rms}, random, on_large_mma(), 2);
    }
  for (const Precision precision : k16Bit)
    for (const int columns : {128, 256})
      check_statistics({.precision = precision, .rows = 140, .columns = 328, .features = 40, .mean = 20}, random, on_wgmma(columns), 2);
}

TEST("folded norm: a product of normalised rows is as accurate as LayerNorm before it, outliers and a mean of 20 deviations included") {
  std::mt19937 random(32);
  for (const Precision precision : kPrecisions)
    for (const bool rms : {false, true}) {
      check_normalised_product({.precision = precision, .rows = 77, .columns = 200, .features = 72, .rms = rms}, random, on_mma);
      check_normalised_product({.precision = precision, .rows = 130, .columns = 384, .features = 136, .rms = rms, .mean = 20,
                                .forward = Epilogue::gelu_erf},
                               random, on_large_mma(), 2);
      check_normalised_product({.precision = precision, .rows = 19, .columns = 75, .features = 27, .rms = rms, .forward = Epilogue::gelu_erf},
                               random, on_mma, 2);
    }
  for (const Precision precision : k16Bit)
    for (const int columns : {128, 256})
      for (const float mean : {0.3f, 20.0f})
        check_normalised_product({.precision = precision, .rows = 140, .columns = 192, .features = 264, .mean = mean,
                                  .forward = mean > 1 ? Epilogue::store : Epilogue::gelu_erf},
                                 random, on_wgmma(columns), 2);
}

TEST("folded norm: the gradient comes out of the product, from the dots of the derivative before it") {
  std::mt19937 random(33);
  for (const Precision precision : kPrecisions)
    for (const bool rms : {false, true}) {
      check_gradient({.precision = precision, .rows = 77, .columns = 136, .features = 200, .rms = rms}, random, on_mma);
      check_gradient({.precision = precision, .rows = 19, .columns = 75, .features = 27, .rms = rms}, random, on_mma, 2);
      check_gradient({.precision = precision, .rows = 140, .columns = 136, .features = 72, .rms = rms, .mean = 20}, random, on_large_mma(), 2);
    }
  for (const Precision precision : k16Bit)
    for (const int columns : {128, 256})
      check_gradient({.precision = precision, .rows = 140, .columns = 264, .features = 136, .mean = 3}, random, on_wgmma(columns), 2);
}

TEST("gemm: gated activations of pairs of columns and their gradients, of normalised rows too") {
  std::mt19937 random(34);
  for (const bool folded : {false, true}) {
    for (const Precision precision : kPrecisions) {
      check_swiglu({.precision = precision, .rows = 77, .columns = 48, .features = 100}, folded, random, on_mma);
      check_swiglu({.precision = precision, .rows = 19, .columns = 27, .features = 13}, folded, random, on_mma, 2);
      check_swiglu({.precision = precision, .rows = 140, .columns = 40, .features = 136}, folded, random, on_large_mma(), 2);
    }
    for (const Precision precision : k16Bit)
      for (const int columns : {128, 256})
        check_swiglu({.precision = precision, .rows = 140, .columns = 72, .features = 136}, folded, random, on_wgmma(columns), 2);
  }
}

TEST("folded norm: what cannot be folded is refused in words") {
  const auto refused = [](const Gemm& g) {
    try {
      gemm(g, nullptr, GemmCore::mma);
    } catch (const signstep::rt::Failure& failure) {
      return failure.kind == signstep::rt::Failure::Kind::invalid && failure.message.find("gemm") != std::string::npos;
    }
    return false;
  };
  const Values some(std::vector<float>(64 * 64, 1), Precision::bf16);
  const Array<float> numbers(std::vector<float>(64 * 64, 1));
  Gemm g;
  g.a = some.data(), g.b = some.data(), g.out = some.data(), g.rows = 64, g.n = 64, g.k = 64;
  Gemm mapped = g;
  mapped.norm.statistics = numbers.data(), mapped.a_map = {.group = 4, .stride = 5, .offset = 1};
  EXPECT(refused(mapped));
  Gemm alone = g;
  alone.norm.column_sums = numbers.data();
  EXPECT(refused(alone));
  Gemm activated = g;
  activated.epilogue = Epilogue::silu, activated.statistics = numbers.data();
  EXPECT(refused(activated));
  Gemm stored = g;
  stored.dots = numbers.data();
  EXPECT(refused(stored));
  Gemm backward = g;
  backward.epilogue = Epilogue::norm_backward, backward.norm.statistics = numbers.data(), backward.aux = some.data();
  EXPECT(refused(backward));
  backward.dots = numbers.data(), backward.dot_parts = 1, backward.bias = numbers.data();
  EXPECT(refused(backward));
  Gemm odd = g;
  odd.epilogue = Epilogue::swiglu, odd.n = 63;
  EXPECT(refused(odd));
}
