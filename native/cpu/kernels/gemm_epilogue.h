// The epilogues of gemm(): what becomes of a block of the product while it is still in the first cache.
#pragma once

#include <immintrin.h>

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "../../cuda/kernels/product_faults.h"
#include "gemm_activation.h"
#include "gemm_kernel.h"

namespace signstep::kernels {
namespace {

using Bf16 = std::uint16_t;  // its bits

inline std::int64_t mapped_row(const RowMap& map, std::int64_t row) {
  return map.group == 0 ? row : row / map.group * map.stride + map.offset + row % map.group;
}

// The first `count` of 16 elements; the others are 0 and not touched.
inline __mmask16 first_lanes(int count) { return static_cast<__mmask16>((1u << count) - 1); }

inline __m512 load_lanes(const float* from, int count) {
  return count == kVector ? _mm512_loadu_ps(from) : _mm512_maskz_loadu_ps(first_lanes(count), from);
}
inline __m512 load_lanes(const Bf16* from, int count) {
  const __m256i bits = count == kVector ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))
                                        : _mm256_maskz_loadu_epi16(first_lanes(count), from);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

// Stores under a mask are microcode on some of these processors: a last, incomplete vector goes through memory.
inline void store_lanes(float* to, int count, __m512 v) {
  if (count == kVector) return _mm512_storeu_ps(to, v);
  alignas(64) float whole[kVector];
  _mm512_store_ps(whole, v);
  std::memcpy(to, whole, static_cast<std::size_t>(count) * sizeof(float));
}
inline void store_lanes(Bf16* to, int count, __m512 v) {
  const auto bits = (__m256i)_mm512_cvtneps_pbh(v);
  if (count == kVector) return _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bits);
  alignas(32) Bf16 whole[kVector];
  _mm256_store_si256(reinterpret_cast<__m256i*>(whole), bits);
  std::memcpy(to, whole, static_cast<std::size_t>(count) * sizeof(Bf16));
}

// Rows row … row + rows - 1 and `columns` columns from `column` on of the result, which are rows `places` of what is stored; tile [rows][64]
// holds their product.
struct Block {
  std::int64_t row, places[kBlockRows];
  int rows, column, columns;
  const float* tile;
};

// body(c, count): each run of 16 columns of the block, the last one perhaps shorter. The count of the others is a constant once inlined.
template <class Body>
inline void for_vectors(const Block& block, const Body& body) {
  int c = 0;
  for (; c + kVector <= block.columns; c += kVector) body(c, std::integral_constant<int, kVector>{});
  if (c < block.columns) body(c, block.columns - c);
}

// Always inlined, as is its caller: GCC takes a function that only prefetches for one without effect, and calls to it for superfluous.
[[gnu::always_inline]] inline void fetch(const void* from, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; i += 64) __builtin_prefetch(static_cast<const std::byte*>(from) + i);
  __builtin_prefetch(static_cast<const std::byte*>(from) + bytes - 1);
}

// Asks for what the epilogue of a block will touch, before its product is computed: rows so far apart are no stream that the processor
// would foresee.
template <class T>
[[gnu::always_inline]] inline void fetch_block(const Gemm& g, const Block& block) {
  const auto columns = static_cast<std::size_t>(block.columns);
  for (int r = 0; r < block.rows; ++r) {
    const std::int64_t at = block.places[r] * g.n + block.column;
    if (g.epilogue == Epilogue::step_linf) {
      fetch(g.step.x + at, columns * sizeof(float));
      fetch(g.step.x0 + at, columns * sizeof(float));
      fetch(static_cast<T*>(g.step.operand) + at, columns * sizeof(T));
      continue;
    }
    const std::size_t width = g.epilogue == Epilogue::store_float ? sizeof(float) : sizeof(T);
    fetch(static_cast<std::byte*>(g.out) + static_cast<std::size_t>(at) * width, columns * width);
    if (g.aux != nullptr) fetch(static_cast<T*>(g.aux) + at, columns * sizeof(T));
    if (g.residual != nullptr) fetch(static_cast<const T*>(g.residual) + at, columns * sizeof(T));
  }
}

template <class T, class Out, Epilogue kKind>
[[gnu::noinline]] void finish(const Gemm& g, const Block& block) {
  const float* bias = g.bias == nullptr ? nullptr : g.bias + block.column;
  const float* scale = g.scale == nullptr ? nullptr : g.scale + block.column;
  for (int r = 0; r < block.rows; ++r) {
    const std::int64_t row = block.row + r, at = block.places[r] * g.n + block.column;
    const float* tile = block.tile + r * kPanelColumns;
    Out* out = static_cast<Out*>(g.out) + at;
    T* aux = g.aux == nullptr ? nullptr : static_cast<T*>(g.aux) + at;
    const T* residual = g.residual == nullptr ? nullptr : static_cast<const T*>(g.residual) + at;
    const float* table = g.table == nullptr ? nullptr : g.table + row % g.out_map.group * g.n + block.column;
    for_vectors(block, [&](int c, auto count) {
      __m512 v = _mm512_load_ps(tile + c);
      if constexpr (is_store(kKind) || is_activation(kKind)) {
        if (bias != nullptr) v = _mm512_add_ps(v, load_lanes(bias + c, count));
      }
      if constexpr (is_store(kKind)) {
        if (scale != nullptr) v = _mm512_mul_ps(v, load_lanes(scale + c, count));
        if (table != nullptr) v = _mm512_add_ps(v, load_lanes(table + c, count));
        if (residual != nullptr) v = _mm512_add_ps(v, load_lanes(residual + c, count));
      } else if constexpr (is_activation(kKind)) {
        if constexpr (kKind == Epilogue::relu) {
          if (residual != nullptr) v = _mm512_add_ps(v, load_lanes(residual + c, count));
        }
        if (aux != nullptr) store_lanes(aux + c, count, v);
        v = activate<kKind>(v);
      } else if constexpr (kKind == Epilogue::relu_backward) {
        if (residual != nullptr) v = _mm512_add_ps(v, load_lanes(residual + c, count));
        // Selected, not multiplied: an infinite gradient where the slope is zero is no NaN.
        v = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(load_lanes(static_cast<const T*>(aux) + c, count), _mm512_setzero_ps(), _CMP_GT_OQ), v);
      } else {
        v = _mm512_mul_ps(v, activation_slope<kKind>(load_lanes(static_cast<const T*>(aux) + c, count)));
      }
      store_lanes(out + c, count, v);
    });
  }
}

// Blocks of one image are worked on by several threads.
inline void report_gradient(const PatchStep& step, std::int64_t image, int nan, bool nonzero) {
  if (nan > 0) std::atomic_ref(step.nan_count[image]).fetch_add(nan, std::memory_order_relaxed);
  if (!nonzero) return;
  const std::atomic_ref flag(step.nonzero[image]);
  if (flag.load(std::memory_order_relaxed) == 0) flag.store(1, std::memory_order_relaxed);
}

// The end of the backward pass: same bits as step_linf of signstep.h (native/core/kernels/step_linf.h). max and min give their second
// operand where one is NaN or both are zero, so the value stands there. Images on hold are counted but not moved.
template <class T>
[[gnu::noinline]] void finish_step(const Gemm& g, const Block& block) {
  const PatchStep& step = g.step;
  for (int r = 0; r < block.rows; ++r) {
    const std::int64_t row = block.row + r, image = row / g.live.rows_per_image, at = row * g.n + block.column;
    const float* tile = block.tile + r * kPanelColumns;
    const bool held = step.hold != nullptr && step.hold[image] != 0;
    const __m512 forth = all(step.alpha[image]), back = all(-step.alpha[image]);
    // A negative radius is none.
    const __m512 radius = all(step.eps[image] < 0 ? std::numeric_limits<float>::infinity() : step.eps[image]);
    int nan = 0;
    unsigned nonzero = 0;
    for_vectors(block, [&](int c, auto count) {
      const __m512 gradient = _mm512_load_ps(tile + c), zero = _mm512_setzero_ps();
      const __mmask16 inside = first_lanes(count);
      nan += std::popcount(static_cast<unsigned>(_mm512_mask_cmp_ps_mask(inside, gradient, gradient, _CMP_UNORD_Q)));
      nonzero |= _mm512_mask_cmp_ps_mask(inside, gradient, zero, _CMP_NEQ_UQ);
      if (held) return;
      __m512 by = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(gradient, zero, _CMP_LT_OQ), back);
      by = _mm512_mask_mov_ps(by, _mm512_cmp_ps_mask(gradient, zero, _CMP_GT_OQ), forth);
      const __m512 x0 = load_lanes(step.x0 + at + c, count);
      __m512 x = _mm512_add_ps(load_lanes(step.x + at + c, count), by);
      x = _mm512_min_ps(_mm512_add_ps(x0, radius), _mm512_max_ps(_mm512_sub_ps(x0, radius), x));
      x = _mm512_min_ps(all(1.0f), _mm512_max_ps(zero, x));
      store_lanes(step.x + at + c, count, x);
      store_lanes(static_cast<T*>(step.operand) + at + c, count, x);
    });
    report_gradient(step, image, nan, nonzero != 0);
  }
}

template <class T>
void finish_block(const Gemm& g, const Block& block) {
  switch (g.epilogue) {
    case Epilogue::store: return finish<T, T, Epilogue::store>(g, block);
    case Epilogue::store_float: return finish<T, float, Epilogue::store_float>(g, block);
    case Epilogue::gelu_erf: return finish<T, T, Epilogue::gelu_erf>(g, block);
    case Epilogue::gelu_tanh: return finish<T, T, Epilogue::gelu_tanh>(g, block);
    case Epilogue::quick_gelu: return finish<T, T, Epilogue::quick_gelu>(g, block);
    case Epilogue::silu: return finish<T, T, Epilogue::silu>(g, block);
    case Epilogue::relu: return finish<T, T, Epilogue::relu>(g, block);
    case Epilogue::gelu_erf_backward: return finish<T, T, Epilogue::gelu_erf_backward>(g, block);
    case Epilogue::gelu_tanh_backward: return finish<T, T, Epilogue::gelu_tanh_backward>(g, block);
    case Epilogue::quick_gelu_backward: return finish<T, T, Epilogue::quick_gelu_backward>(g, block);
    case Epilogue::silu_backward: return finish<T, T, Epilogue::silu_backward>(g, block);
    case Epilogue::relu_backward: return finish<T, T, Epilogue::relu_backward>(g, block);
    case Epilogue::step_linf: return finish_step<T>(g, block);
    case Epilogue::norm_backward:  // finish_rich()
    case Epilogue::swiglu:
    case Epilogue::swiglu_backward: return;
  }
}

}  // namespace
}  // namespace signstep::kernels
