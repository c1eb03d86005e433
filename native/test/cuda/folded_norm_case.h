// LayerNorm folded into products (kernels.h, RowNorm), each part against float64: what the tests of a device say about its gemm().
#pragma once

#include <functional>

#include "device_case.h"

namespace device_case {

struct FoldedNorm {
  Precision precision = Precision::bf16;
  std::int64_t rows = 0;
  int columns = 0;   // of the rows that are normalised
  int features = 0;  // of the product that reads them
  bool rms = false;
  float mean = 0.3f;  // of the rows, in deviations
  signstep::kernels::Epilogue forward = signstep::kernels::Epilogue::store;
  signstep::kernels::Epilogue backward = signstep::kernels::Epilogue::gelu_erf_backward;
};
using RunGemm = std::function<void(const signstep::kernels::Gemm&)>;

// x = a . w + bias + residual leaves the statistics of what it stored; with a row map too.
void check_statistics(const FoldedNorm& c, std::mt19937& random, const RunGemm& run, int schedules = 4);
// LN(x) . w + bias and its activation, from the statistics that row_statistics() makes; the error may not be larger than that of
// normalising, rounding and multiplying one after the other.
void check_normalised_product(const FoldedNorm& c, std::mt19937& random, const RunGemm& run, int schedules = 4);
// A derivative leaves dots, from which norm_backward makes the gradient of x.
void check_gradient(const FoldedNorm& c, std::mt19937& random, const RunGemm& run, int schedules = 4);

// A gated linear layer and its gradient: `columns` of x, `features` pairs. `folded`: of normalised rows, and the derivative leaves dots.
void check_swiglu(const FoldedNorm& c, bool folded, std::mt19937& random, const RunGemm& run, int schedules = 4);

}  // namespace device_case
