// Operands in the order the product reads them. b [n,k] is packed anew in every call: a panel costs what 4 rows of the product cost, it is
// then used for some hundred, and no copy can be out of date.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "gemm_kernel.h"

namespace signstep::kernels {
namespace {

// 16 vectors of 16 units, transposed.
inline void transpose_units(__m512i (&v)[kVector]) {
  __m512i t[kVector];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
  }
  // Of rows 4i … 4i+3: units 0, 1, 2, 3 (plus 4, 8, 12 in the lanes of 128 bits).
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    v[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    v[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    v[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    v[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
  // Then a 4 by 4 transposition of lanes.
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512i low01 = _mm512_shuffle_i32x4(v[i], v[4 + i], 0x88), high01 = _mm512_shuffle_i32x4(v[i], v[4 + i], 0xDD);
    const __m512i low23 = _mm512_shuffle_i32x4(v[8 + i], v[12 + i], 0x88), high23 = _mm512_shuffle_i32x4(v[8 + i], v[12 + i], 0xDD);
    t[i] = _mm512_shuffle_i32x4(low01, low23, 0x88);
    t[4 + i] = _mm512_shuffle_i32x4(high01, high23, 0x88);
    t[8 + i] = _mm512_shuffle_i32x4(low01, low23, 0xDD);
    t[12 + i] = _mm512_shuffle_i32x4(high01, high23, 0xDD);
  }
#pragma GCC unroll 16
  for (int i = 0; i < kVector; ++i) v[i] = t[i];
}

// panel [units][vectors * 16] = the first `bytes` bytes (an even number) of `columns` rows of b, zeros beyond; units = ceil(bytes / 4).
inline void pack_panel(const std::byte* b, std::size_t row_bytes, int columns, std::size_t bytes, std::int32_t* panel) {
  const int vectors = (columns + kVector - 1) / kVector;
  const std::size_t width = static_cast<std::size_t>(vectors) * kVector, units = (bytes + 3) / 4;
  for (std::size_t unit = 0; unit < units; unit += kVector) {
    const std::size_t here = std::min<std::size_t>(64, bytes - unit * 4);
    const auto mask = static_cast<__mmask32>((std::uint64_t{1} << (here / 2)) - 1);
    const std::size_t count = std::min<std::size_t>(kVector, units - unit);
    for (int group = 0; group < vectors; ++group) {
      __m512i v[kVector];
      const std::byte* from = b + static_cast<std::size_t>(group * kVector) * row_bytes + unit * 4;
      const int rows = std::min(kVector, columns - group * kVector);
      if (here == 64 && rows == kVector) {
#pragma GCC unroll 16
        for (int i = 0; i < kVector; ++i) v[i] = _mm512_loadu_si512(from + static_cast<std::size_t>(i) * row_bytes);
      } else {
        for (int i = 0; i < kVector; ++i)
          v[i] = i < rows ? _mm512_maskz_loadu_epi16(mask, from + static_cast<std::size_t>(i) * row_bytes) : _mm512_setzero_si512();
      }
      transpose_units(v);
      std::int32_t* to = panel + unit * width + static_cast<std::size_t>(group) * kVector;
      if (count == kVector) {
#pragma GCC unroll 16
        for (std::size_t i = 0; i < kVector; ++i) _mm512_store_si512(to + i * width, v[i]);
      } else {
        for (std::size_t i = 0; i < count; ++i) _mm512_store_si512(to + i * width, v[i]);
      }
    }
  }
}

// Rows whose last pair lacks its second number get a zero there: copies of the 6 rows, which then point to them.
inline void pad_rows(const std::byte* (&a)[kBlockRows], std::size_t bytes, std::byte* copies) {
  const std::size_t padded = (bytes + 3) / 4 * 4;
  for (const std::byte*& row : a) {
    std::memcpy(copies, row, bytes);
    std::memset(copies + bytes, 0, padded - bytes);
    row = copies;
    copies += padded;
  }
}

}  // namespace
}  // namespace signstep::kernels
