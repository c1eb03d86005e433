// LayerNorm folded into the products beside it (kernels.h, RowNorm): passes over a block of the product, before and after it is stored, while
// it is in the first cache.
#pragma once

#include "gemm_epilogue.h"
#include "statistics.h"

namespace signstep::kernels {
namespace {

static_assert(kPanelColumns == kStatisticsColumns);

template <class T>
using ValuesOf = std::conditional_t<std::is_same_v<T, float>, cpu::Float32Values, cpu::Bf16Values>;

inline bool knows_rows(const Gemm& g) { return g.norm.statistics != nullptr || g.statistics != nullptr || g.dots != nullptr; }

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
void emit_dots(const Gemm& g, const Block& block) {
  const std::int64_t parts = statistics_parts(g.n), part = block.column / kStatisticsColumns;
  for (int r = 0; r < block.rows; ++r) {
    const std::int64_t row = block.places[r], at = row * g.n + block.column;
    __m512 sum = _mm512_setzero_ps();
    for_vectors(block, [&](int c, auto count) {
      __m512 y = load_lanes(static_cast<const T*>(g.aux) + at + c, count);
      if (g.bias != nullptr) y = _mm512_sub_ps(y, load_lanes(g.bias + block.column + c, count));
      sum = _mm512_fmadd_ps(load_lanes(static_cast<const T*>(g.out) + at + c, count), y, sum);
    });
    g.dots[row * parts + part] = _mm512_reduce_add_ps(sum);
  }
}

// finish_block() of a product beside a folded LayerNorm. `tile` is the block's.
template <class T>
void finish_folded(const Gemm& g, const Block& block, const BlockRows& of, float* tile) {
  if (g.epilogue == Epilogue::norm_backward) return finish_norm_backward<T>(g, block, of);
  if (g.norm.statistics != nullptr) normalise(g, block, of, tile);
  finish_block<T>(g, block);
  if (g.statistics != nullptr) emit_statistics<T>(g, block);
  if (g.dots != nullptr) emit_dots<T>(g, block);
}

}  // namespace
}  // namespace signstep::kernels
