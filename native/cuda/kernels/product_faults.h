// What is wrong with the arguments of a product, wherever it is computed: the kernels here and those of the processor refuse the same ones.
#pragma once

#include <string>

#include "kernels.h"

namespace signstep::kernels {

constexpr bool is_store(Epilogue kind) { return kind == Epilogue::store || kind == Epilogue::store_float; }
constexpr bool is_relu(Epilogue kind) { return kind == Epilogue::relu || kind == Epilogue::relu_backward; }
constexpr bool is_activation(Epilogue kind) {
  return kind == Epilogue::gelu_erf || kind == Epilogue::gelu_tanh || kind == Epilogue::quick_gelu || kind == Epilogue::silu ||
         kind == Epilogue::relu || kind == Epilogue::swiglu;
}
constexpr bool is_derivative(Epilogue kind) {
  return !is_store(kind) && !is_activation(kind) && kind != Epilogue::step_linf && kind != Epilogue::norm_backward;
}

// A folded LayerNorm or a gated activation is in it.
inline bool is_rich(const Gemm& g) {
  return g.norm.statistics != nullptr || g.statistics != nullptr || g.dots != nullptr || g.epilogue == Epilogue::swiglu ||
         g.epilogue == Epilogue::swiglu_backward;
}

// "" where nothing is, here and below.
inline std::string step_fault(const Gemm& g) {
  const PatchStep& s = g.step;
  if (g.live.rows_per_image <= 0) return "step_linf needs live.rows_per_image";
  if (g.out_map.group != 0) return "step_linf has no row map";
  const bool complete = s.x != nullptr && s.x0 != nullptr && s.operand != nullptr && s.alpha != nullptr && s.eps != nullptr &&
                        s.nan_count != nullptr && s.nonzero != nullptr;
  return complete ? "" : "step_linf lacks an array";
}

// Which arrays an epilogue needs and which it has no place for.
inline std::string epilogue_fault(const Gemm& g) {
  if (g.out == nullptr) return "no output";
  if (g.table != nullptr && g.out_map.group == 0) return "a table needs the group of the output's row map";
  if (is_store(g.epilogue) || g.epilogue == Epilogue::norm_backward) return "";
  if (g.table != nullptr || g.scale != nullptr) return "this epilogue has no scale or table";
  if (g.residual != nullptr && !is_relu(g.epilogue)) return "this epilogue has no residual";
  if (g.epilogue == Epilogue::swiglu && g.n % 2 != 0) return "swiglu takes pairs of columns";
  return is_derivative(g.epilogue) && g.aux == nullptr ? "the derivative needs the pre-activation" : "";
}

// What a folded LayerNorm asks for.
inline std::string norm_fault(const Gemm& g) {
  const bool backward = g.epilogue == Epilogue::norm_backward, derives = is_derivative(g.epilogue);
  if (g.norm.statistics != nullptr && (g.a_map.group != 0 || g.out_map.group != 0)) return "a folded LayerNorm has no row maps";
  if (g.norm.statistics != nullptr && derives) return "a derivative is of no normalised rows";
  if (g.norm.statistics == nullptr && g.norm.column_sums != nullptr) return "column sums without statistics";
  if (g.statistics != nullptr && g.epilogue != Epilogue::store) return "only store leaves statistics";
  if (g.dots != nullptr && !derives && !backward) return "only derivatives leave dots";
  if (!backward) return "";
  if (g.norm.statistics == nullptr || g.aux == nullptr || g.dots == nullptr || g.dot_parts < 1) return "norm_backward lacks an array";
  const bool adds = g.bias != nullptr || g.scale != nullptr || g.table != nullptr || g.norm.column_sums != nullptr;
  return adds ? "norm_backward adds nothing but a residual" : "";
}

inline std::string fault(const Gemm& g) {
  if (g.rows < 0 || g.n < 1 || g.k < 1) return "n and k must be at least 1";
  if (g.epilogue == Epilogue::step_linf) return step_fault(g);
  const std::string of_epilogue = epilogue_fault(g);
  return of_epilogue.empty() ? norm_fault(g) : of_epilogue;
}

inline std::string fault(const Convolution& c) {
  const Gemm& g = c.product;
  const Window& w = c.window;
  if (c.images < 0 || g.n < 1 || w.height < 1 || w.width < 1 || w.channels < 1 || w.taps_y < 1 || w.taps_x < 1 || w.rows_y < 0 || w.rows_x < 0)
    return "sizes must be at least 1";
  if (g.table != nullptr || g.epilogue == Epilogue::step_linf) return "a convolution has no table and makes no step";
  if (is_rich(g) || g.epilogue == Epilogue::norm_backward) return "a convolution has no LayerNorm or gate beside it";
  return epilogue_fault(g);
}

[[noreturn]] inline void refuse_gemm(std::int64_t rows, std::int32_t n, std::int32_t k, const std::string& why) {
  const std::string shape = std::to_string(rows) + " x " + std::to_string(n) + " x " + std::to_string(k) + " (rows, n, k)";
  throw rt::Failure{rt::Failure::Kind::invalid, "gemm " + shape + ": " + why};
}
[[noreturn]] inline void refuse(const Gemm& g, const std::string& why) { refuse_gemm(g.rows, g.n, g.k, why); }
[[noreturn]] inline void refuse(const Convolution& c, const std::string& why) {
  const Window& w = c.window;
  const std::string shape = std::to_string(c.images) + " x " + std::to_string(w.height) + " x " + std::to_string(w.width) + " x " +
                            std::to_string(w.channels) + " (images, height, width, channels), " + std::to_string(w.taps_y) + " x " +
                            std::to_string(w.taps_x) + " taps to " + std::to_string(c.product.n);
  throw rt::Failure{rt::Failure::Kind::invalid, "convolution " + shape + ": " + why};
}

template <class Product>
void refuse_faulty(const Product& product) {
  if (const std::string why = fault(product); !why.empty()) refuse(product, why);
}

}  // namespace signstep::kernels
