// LayerNorm folded into the products beside it, on sizes that fit no block, panel or part of k.
#include "../cuda/folded_norm_case.h"

using namespace device_case;
using signstep::kernels::Epilogue;

namespace {

constexpr Precision kPrecisions[] = {Precision::bf16, Precision::float32};
void run(const signstep::kernels::Gemm& g) { signstep::kernels::gemm(g, nullptr); }

}  // namespace

TEST("folded norm: statistics, the product of normalised rows and its gradient, as accurate as one after the other") {
  std::mt19937 random(41);
  for (const Precision precision : kPrecisions)
    for (const bool rms : {false, true})
      for (const float mean : {0.3f, 20.0f}) {
        check_statistics({.precision = precision, .rows = 72, .columns = 200, .features = 48, .rms = rms, .mean = mean}, random, run, 1);
        check_statistics({.precision = precision, .rows = 41, .columns = 77, .features = 2100, .rms = rms, .mean = mean}, random, run, 1);
        for (const Epilogue forward : {Epilogue::store, Epilogue::gelu_erf}) {
          check_normalised_product({.precision = precision, .rows = 131, .columns = 384, .features = 200, .rms = rms, .mean = mean,
                                    .forward = forward},
                                   random, run, 1);
          check_normalised_product({.precision = precision, .rows = 7, .columns = 75, .features = 27, .rms = rms, .mean = mean,
                                    .forward = forward},
                                   random, run, 1);
        }
        check_gradient({.precision = precision, .rows = 77, .columns = 200, .features = 264, .rms = rms, .mean = mean}, random, run, 1);
        check_gradient({.precision = precision, .rows = 7, .columns = 75, .features = 27, .rms = rms, .mean = mean}, random, run, 1);
      }
}

TEST("gemm: gated activations of pairs of columns and their gradients, of normalised rows too") {
  std::mt19937 random(42);
  for (const Precision precision : kPrecisions)
    for (const bool folded : {false, true}) {
      check_swiglu({.precision = precision, .rows = 131, .columns = 77, .features = 136}, folded, random, run, 1);
      check_swiglu({.precision = precision, .rows = 7, .columns = 40, .features = 13}, folded, random, run, 1);
    }
}
