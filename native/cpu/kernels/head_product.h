// The products of attention, of matrices that lie in cache: c [rows, columns] = (or +=) a . b in float32.
//
// The inner dimension goes in units of 32 bits: one float32, or two neighbouring bf16 numbers, which _mm512_dpbf16_ps multiplies and adds
// at once. b is [units, columns], columns a multiple of 16. Unit u of row r of a lies at r * a_row + u * a_unit, so a may be transposed.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "value_vectors.h"

namespace signstep::cpu {

using Unit = std::uint32_t;

inline __m512 multiply_add(Bf16Values, __m512 sum, __m512i a, __m512i b) {
  return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
}
inline __m512 multiply_add(Float32Values, __m512 sum, __m512i a, __m512i b) {
  return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum);
}

struct HeadProduct {
  const Unit* a = nullptr;
  std::size_t a_row = 0, a_unit = 1;
  const Unit* b = nullptr;
  std::size_t b_unit = 0;  // columns of b in memory
  float* c = nullptr;
  std::size_t c_row = 0;
  std::size_t rows = 0, vectors = 0, units = 0;  // vectors: columns / 16
  bool add = false;
};

// 6 rows by 4 vectors: 24 sums, 4 vectors of b and one of a fill 29 of the 32 registers, and 24 products hide the latency of 4 to 6 cycles
// and need only 10 loads.
inline constexpr std::size_t kTileRows = 6, kTileVectors = 4;

template <class Values, std::size_t Rows, std::size_t Vectors>
void head_product_tile(const HeadProduct& p, const Unit* a, const Unit* b, float* c) {
  __m512 sums[Rows][Vectors];
#pragma GCC unroll 8
  for (std::size_t r = 0; r < Rows; ++r)
#pragma GCC unroll 8
    for (std::size_t v = 0; v < Vectors; ++v) sums[r][v] = p.add ? _mm512_loadu_ps(c + r * p.c_row + v * kLanes) : _mm512_setzero_ps();
  const std::size_t a_row = p.a_row, a_unit = p.a_unit, b_unit = p.b_unit;
  for (std::size_t u = p.units; u > 0; --u) {
    __m512i row_b[Vectors];
#pragma GCC unroll 8
    for (std::size_t v = 0; v < Vectors; ++v) row_b[v] = _mm512_loadu_si512(b + v * kLanes);
#pragma GCC unroll 8
    for (std::size_t r = 0; r < Rows; ++r) {
      const __m512i one = _mm512_set1_epi32(static_cast<int>(a[r * a_row]));
#pragma GCC unroll 8
      for (std::size_t v = 0; v < Vectors; ++v) sums[r][v] = multiply_add(Values{}, sums[r][v], one, row_b[v]);
    }
    a += a_unit;
    b += b_unit;
  }
#pragma GCC unroll 8
  for (std::size_t r = 0; r < Rows; ++r)
#pragma GCC unroll 8
    for (std::size_t v = 0; v < Vectors; ++v) _mm512_storeu_ps(c + r * p.c_row + v * kLanes, sums[r][v]);
}

template <class Values, std::size_t Vectors>
void head_product_columns(const HeadProduct& p, std::size_t vector) {
  const Unit* const b = p.b + vector * kLanes;
  float* const c = p.c + vector * kLanes;
  std::size_t r = 0;
  for (; r + kTileRows <= p.rows; r += kTileRows)
    head_product_tile<Values, kTileRows, Vectors>(p, p.a + r * p.a_row, b, c + r * p.c_row);
  const Unit* const a = p.a + r * p.a_row;
  switch (p.rows - r) {
    case 1: return head_product_tile<Values, 1, Vectors>(p, a, b, c + r * p.c_row);
    case 2: return head_product_tile<Values, 2, Vectors>(p, a, b, c + r * p.c_row);
    case 3: return head_product_tile<Values, 3, Vectors>(p, a, b, c + r * p.c_row);
    case 4: return head_product_tile<Values, 4, Vectors>(p, a, b, c + r * p.c_row);
    case 5: return head_product_tile<Values, 5, Vectors>(p, a, b, c + r * p.c_row);
    default: return;
  }
}

template <class Values>
void head_product(const HeadProduct& p) {
  // Panels of nearly one width: 13 vectors are 4 + 3 + 3 + 3, not 4 + 4 + 4 + 1, whose last has too few sums to hide latency.
  const std::size_t panels = (p.vectors + kTileVectors - 1) / kTileVectors;
  for (std::size_t i = 0; i < panels; ++i) {
    const std::size_t first = p.vectors * i / panels;
    switch (p.vectors * (i + 1) / panels - first) {
      case 1: head_product_columns<Values, 1>(p, first); break;
      case 2: head_product_columns<Values, 2>(p, first); break;
      case 3: head_product_columns<Values, 3>(p, first); break;
      default: head_product_columns<Values, 4>(p, first); break;
    }
  }
}

}  // namespace signstep::cpu
