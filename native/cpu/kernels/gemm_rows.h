// What few products need: LayerNorm folded into the products beside it (kernels.h, RowNorm), passes over a block of the product, before and
// after it is stored, while it is in the first cache; and gated activations.
#pragma once

#include "gemm_epilogue.h"
#include "statistics.h"

namespace signstep::kernels {
namespace {

static_assert(kPanelColumns == kStatisticsColumns);

template <class T>
using ValuesOf = std::conditional_t<std::is_same_v<T, float>, cpu::Float32Values, cpu::Bf16Values>;

// Of the rows of a block, for all of its panels.
struct BlockRows {
  cpu::RowMoments moments[kBlockRows];
  float slope[kBlockRows];  // norm_backward: rstd^2 * sum(dots) / n

  void prepare(const Gemm& g, std::int64_t first, int rows) {
    if (g.norm.statistics == nullptr) return;
    const bool backward = g.epilogue == Epilogue::norm_backward;
    for (int r = 0; r < rows; ++r) {
      moments[r] = cpu::row_moments(g.norm.statistics, first + r, backward ? g.n : g.k, g.norm.epsilon);
      if (!backward) continue;
      float sum = 0;
      for (std::int32_t part = 0; part < g.dot_parts; ++part) sum += g.dots[(first + r) * g.dot_parts + part];
      slope[r] = sum / static_cast<float>(g.n) * moments[r].rstd * moments[r].rstd;
    }
  }
};

// The tile becomes a product of normalised rows.
inline void normalise(const Gemm& g, const Block& block, const BlockRows& of, float* tile) {
  for (int r = 0; r < block.rows; ++r)
    for_vectors(block, [&](int c, auto count) {
      __m512 v = _mm512_load_ps(tile + r * kPanelColumns + c);
      if (g.norm.column_sums != nullptr)
        v = _mm512_fnmadd_ps(all(of.moments[r].mean), load_lanes(g.norm.column_sums + block.column + c, count), v);
      _mm512_store_ps(tile + r * kPanelColumns + c, _mm512_mul_ps(v, all(of.moments[r].rstd)));
    });
}

template <class T>
void finish_norm_backward(const Gemm& g, const Block& block, const BlockRows& of) {
  for (int r = 0; r < block.rows; ++r) {
    const std::int64_t at = (block.row + r) * g.n + block.column;
    const T* x = static_cast<const T*>(g.aux) + at;
    const T* residual = g.residual == nullptr ? nullptr : static_cast<const T*>(g.residual) + at;
    const __m512 mean = all(of.moments[r].mean), rstd = all(of.moments[r].rstd), slope = all(of.slope[r]);
    for_vectors(block, [&](int c, auto count) {
      const __m512 below = _mm512_mul_ps(slope, _mm512_sub_ps(mean, load_lanes(x + c, count)));
      __m512 v = _mm512_fmadd_ps(rstd, _mm512_load_ps(block.tile + r * kPanelColumns + c), below);
      if (residual != nullptr) v = _mm512_add_ps(v, load_lanes(residual + c, count));
      store_lanes(static_cast<T*>(g.out) + at + c, count, v);
    });
  }
}

// Of what has been stored.
template <class T>
void emit_statistics(const Gemm& g, const Block& block) {
  const std::int64_t parts = statistics_parts(g.n), part = block.column / kStatisticsColumns;
  for (int r = 0; r < block.rows; ++r) {
    const std::int64_t row = block.places[r];
    cpu::write_statistics<ValuesOf<T>>(static_cast<const T*>(g.out) + row * g.n + block.column, static_cast<std::size_t>(block.columns), g.rms,
                                       g.statistics + 2 * (row * parts + part));
  }
}
template <class T>
void emit_dots(const Gemm& g, const Block& product) {
  const std::int64_t parts = statistics_parts(g.n), part = product.column / kStatisticsColumns;
  const int each = g.epilogue == Epilogue::swiglu_backward ? 2 : 1;  // results of a column
  Block block = product;
  block.column *= each;
  block.columns *= each;
  for (int r = 0; r < block.rows; ++r) {
    const std::int64_t row = block.places[r], at = row * g.n * each + block.column;
    __m512 sum = _mm512_setzero_ps();
    for_vectors(block, [&](int c, auto count) {
      __m512 y = load_lanes(static_cast<const T*>(g.aux) + at + c, count);
      if (g.bias != nullptr) y = _mm512_sub_ps(y, load_lanes(g.bias + block.column + c, count));
      sum = _mm512_fmadd_ps(load_lanes(static_cast<const T*>(g.out) + at + c, count), y, sum);
    });
    g.dots[row * parts + part] = _mm512_reduce_add_ps(sum);
  }
}

// Even and odd lanes of pairs (a, b), each in both lanes.
inline __m512 first_of_pairs(__m512 pairs) { return _mm512_moveldup_ps(pairs); }
inline __m512 second_of_pairs(__m512 pairs) { return _mm512_movehdup_ps(pairs); }

template <class T>
void finish_swiglu(const Gemm& g, const Block& block) {
  for (int r = 0; r < block.rows; ++r) {
    const std::int64_t at = block.places[r] * g.n + block.column;
    for_vectors(block, [&](int c, auto count) {
      __m512 v = _mm512_load_ps(block.tile + r * kPanelColumns + c);
      if (g.bias != nullptr) v = _mm512_add_ps(v, load_lanes(g.bias + block.column + c, count));
      if (g.aux != nullptr) store_lanes(static_cast<T*>(g.aux) + at + c, count, v);
      const __m512 gated = _mm512_mul_ps(activate<Epilogue::silu>(v), second_of_pairs(v));
      store_lanes(static_cast<T*>(g.out) + (at + c) / 2, count / 2, _mm512_maskz_compress_ps(0x5555, gated));
    });
  }
}

template <class T>
void finish_swiglu_backward(const Gemm& g, const Block& block) {
  const __m512i low = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
  for (int r = 0; r < block.rows; ++r) {
    const std::int64_t at = 2 * (block.places[r] * g.n + block.column);
    for_vectors(block, [&](int c, int count) {
      const __m512 gradient = _mm512_load_ps(block.tile + r * kPanelColumns + c);
      for (int half = 0; half < 2 && count > 8 * half; ++half) {
        const int first = 2 * c + 16 * half, pairs = std::min(8, count - 8 * half);
        const __m512 of_pair = _mm512_permutexvar_ps(_mm512_add_epi32(low, _mm512_set1_epi32(8 * half)), gradient);
        const __m512 x = load_lanes(static_cast<const T*>(g.aux) + at + first, 2 * pairs), a = first_of_pairs(x);
        const __m512 to_a = _mm512_mul_ps(second_of_pairs(x), activation_slope<Epilogue::silu_backward>(a));
        const __m512 factor = _mm512_mask_blend_ps(0xAAAA, to_a, activate<Epilogue::silu>(a));
        store_lanes(static_cast<T*>(g.out) + at + first, 2 * pairs, _mm512_mul_ps(of_pair, factor));
      }
    });
  }
}

// finish_block() of such a product. `tile` is the block's.
template <class T>
void finish_rich(const Gemm& g, const Block& block, const BlockRows& of, float* tile) {
  if (g.epilogue == Epilogue::norm_backward) return finish_norm_backward<T>(g, block, of);
  if (g.norm.statistics != nullptr) normalise(g, block, of, tile);
  switch (g.epilogue) {
    case Epilogue::swiglu: finish_swiglu<T>(g, block); break;
    case Epilogue::swiglu_backward: finish_swiglu_backward<T>(g, block); break;
    default: finish_block<T>(g, block);
  }
  if (g.statistics != nullptr) emit_statistics<T>(g, block);
  if (g.dots != nullptr) emit_dots<T>(g, block);
}

}  // namespace
}  // namespace signstep::kernels
