// The product of 6 rows of a by up to 64 columns of b in registers: 24 accumulators, 4 vectors of b and one element of a fill the 32
// registers of AVX-512, and each vector of b loaded is used six times.
//
// Both precisions are seen as units of 32 bits: two bf16 numbers that one instruction multiplies and adds, or one float32.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace signstep::kernels {
namespace {

constexpr int kBlockRows = 6;
constexpr int kPanelColumns = 64;
constexpr int kVector = 16;  // columns

template <bool kFloat>
inline __m512 multiply_add(__m512 sum, __m512i a, __m512i b) {
  if constexpr (kFloat)
    return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum);
  else
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

inline __m512i broadcast_unit(const std::byte* from) {
  std::int32_t unit;
  std::memcpy(&unit, from, sizeof unit);
  return _mm512_set1_epi32(unit);
}

// Part of 6 rows of a, in `pieces` of `units` each that may lie anywhere: rows[piece][6].
struct BlockOperand {
  const std::byte* const (*rows)[kBlockRows];
  std::size_t pieces, units;
};

// tile [6][64] = or += a . b; panel [pieces * units][kVectors * 16], on 64 bytes.
template <bool kFloat, int kVectors>
inline void multiply_block(const BlockOperand& a, const std::int32_t* panel, bool first, float* tile) {
  __m512 sum[kBlockRows][kVectors];
#pragma GCC unroll 6
  for (int r = 0; r < kBlockRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[r][v] = first ? _mm512_setzero_ps() : _mm512_load_ps(tile + r * kPanelColumns + v * kVector);
  for (std::size_t piece = 0; piece < a.pieces; ++piece) {
    const std::byte* const(&of)[kBlockRows] = a.rows[piece];
    const std::byte *const a0 = of[0], *const a1 = of[1], *const a2 = of[2], *const a3 = of[3], *const a4 = of[4], *const a5 = of[5];
    for (std::size_t at = 0; at < a.units * 4; at += 4, panel += kVectors * kVector) {
      __m512i b[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) b[v] = _mm512_load_si512(panel + v * kVector);
      const std::byte* const row[kBlockRows] = {a0, a1, a2, a3, a4, a5};
#pragma GCC unroll 6
      for (int r = 0; r < kBlockRows; ++r) {
        const __m512i x = broadcast_unit(row[r] + at);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sum[r][v] = multiply_add<kFloat>(sum[r][v], x, b[v]);
      }
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < kBlockRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) _mm512_store_ps(tile + r * kPanelColumns + v * kVector, sum[r][v]);
}

}  // namespace
}  // namespace signstep::kernels
