// What the epilogues of products make of a sum, in float64.
#pragma once

#include <cmath>

#include "../cuda/kernels/kernels.h"

namespace epilogue_oracle {

using signstep::kernels::Epilogue;

inline double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }
inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
inline double tanh_argument(double x) { return 2 * std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x); }
inline double tanh_slope(double x) { return 2 * std::sqrt(2 / std::acos(-1.0)) * (1 + 3 * 0.044715 * x * x); }

inline double activation(Epilogue kind, double x) {
  switch (kind) {
    case Epilogue::gelu_erf: return x * normal_cdf(x);
    case Epilogue::gelu_tanh: return x * sigmoid(tanh_argument(x));
    case Epilogue::quick_gelu: return x * sigmoid(1.702 * x);
    case Epilogue::silu: return x * sigmoid(x);
    case Epilogue::relu: return x > 0 ? x : 0;
    default: return x;
  }
}

// The derivative of the activation at x.
inline double slope(Epilogue kind, double x) {
  const auto gated = [&](double s, double inner) { return s + x * s * (1 - s) * inner; };
  switch (kind) {
    case Epilogue::gelu_erf_backward: return normal_cdf(x) + x * std::exp(-x * x / 2) / std::sqrt(2 * std::acos(-1.0));
    case Epilogue::gelu_tanh_backward: return gated(sigmoid(tanh_argument(x)), tanh_slope(x));
    case Epilogue::quick_gelu_backward: return gated(sigmoid(1.702 * x), 1.702);
    case Epilogue::silu_backward: return gated(sigmoid(x), 1);
    case Epilogue::relu_backward: return x > 0 ? 1 : 0;
    default: return 1;
  }
}

inline bool is_store(Epilogue kind) { return kind == Epilogue::store || kind == Epilogue::store_float; }
inline bool is_forward(Epilogue kind) {
  return kind == Epilogue::gelu_erf || kind == Epilogue::gelu_tanh || kind == Epilogue::quick_gelu || kind == Epilogue::silu ||
         kind == Epilogue::relu;
}

inline constexpr Epilogue kActivations[] = {Epilogue::gelu_erf, Epilogue::gelu_tanh, Epilogue::quick_gelu, Epilogue::silu, Epilogue::relu};
inline constexpr Epilogue kDerivatives[] = {Epilogue::gelu_erf_backward, Epilogue::gelu_tanh_backward, Epilogue::quick_gelu_backward,
                                            Epilogue::silu_backward, Epilogue::relu_backward};

}  // namespace epilogue_oracle
