// The rows of one head of an image, brought from where they lie into the forms that head_product() reads.
//   rows         [rows, units]: as a; the inner dimension is that of the head
//   transposed   [units, rows]: as b; the same inner dimension
//   paired       [rows / numbers in a unit, head size]: as b; the inner dimension is that of the sequence
// Rows are padded with zeros to a multiple of 16, units too.
#pragma once

#include <cstdlib>
#include <memory>
#include <new>

#include "head_product.h"

namespace signstep::cpu {

// Memory for one thread that grows and is kept; begins on a cache line.
template <class T>
class Scratch {
 public:
  T* at_least(std::size_t count) {
    if (count > count_) {
      data_.reset(static_cast<T*>(std::aligned_alloc(64, round_up(count * sizeof(T), 64))));
      if (!data_) throw std::bad_alloc();
      count_ = count;
    }
    return data_.get();
  }

 private:
  struct Free {
    void operator()(T* data) const { std::free(data); }
  };
  std::unique_ptr<T, Free> data_;
  std::size_t count_ = 0;
};

inline constexpr std::size_t numbers_in_unit(Bf16Values) { return 2; }
inline constexpr std::size_t numbers_in_unit(Float32Values) { return 1; }

// Units in memory of a row of `numbers`.
template <class Values>
std::size_t padded_units(std::size_t numbers) {
  return round_up(numbers, kLanes * numbers_in_unit(Values{})) / numbers_in_unit(Values{});
}
// Units that hold anything.
template <class Values>
std::size_t used_units(std::size_t numbers) {
  return round_up(numbers, numbers_in_unit(Values{})) / numbers_in_unit(Values{});
}

// 64 bytes of a row from element `at`, zeros beyond `count`.
inline __m512i row_units(const std::uint16_t* row, std::size_t at, std::size_t count) {
  const std::size_t left = count - at;
  return _mm512_maskz_loadu_epi16(left >= 32 ? ~__mmask32{0} : static_cast<__mmask32>((1u << left) - 1), row + at);
}
inline __m512i row_units(const float* row, std::size_t at, std::size_t count) {
  return _mm512_castps_si512(_mm512_maskz_loadu_ps(lanes(at, count), row + at));
}

template <class Values>
void pack_rows(const typename Values::Stored* from, std::int64_t stride, std::size_t rows, std::size_t width, Unit* to) {
  const std::size_t units = padded_units<Values>(width);
  constexpr std::size_t kNumbers = kLanes * numbers_in_unit(Values{});
  for (std::size_t r = 0; r < rows; ++r, from += stride)
    for (std::size_t u = 0; u < units; u += kLanes) _mm512_store_si512(to + r * units + u, row_units(from, u / kLanes * kNumbers, width));
  for (std::size_t i = rows * units; i < round_up(rows, kLanes) * units; i += kLanes) _mm512_store_si512(to + i, _mm512_setzero_si512());
}

// 16 by 16 units.
inline void transpose_tile(const Unit* from, std::size_t from_row, Unit* to, std::size_t to_row) {
  __m512i x[16], y[16];
#pragma GCC unroll 16
  for (std::size_t i = 0; i < 16; ++i) x[i] = _mm512_load_si512(from + i * from_row);
#pragma GCC unroll 8
  for (std::size_t i = 0; i < 16; i += 2) {
    y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
    y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
  }
  // x[4g + c]: column 4l + c of rows 4g … 4g + 3 in its 128-bit lane l.
#pragma GCC unroll 4
  for (std::size_t i = 0; i < 16; i += 4) {
    x[i] = _mm512_unpacklo_epi64(y[i], y[i + 2]);
    x[i + 1] = _mm512_unpackhi_epi64(y[i], y[i + 2]);
    x[i + 2] = _mm512_unpacklo_epi64(y[i + 1], y[i + 3]);
    x[i + 3] = _mm512_unpackhi_epi64(y[i + 1], y[i + 3]);
  }
#pragma GCC unroll 4
  for (std::size_t c = 0; c < 4; ++c) {
    const __m512i low_even = _mm512_shuffle_i32x4(x[c], x[4 + c], 0x88), low_odd = _mm512_shuffle_i32x4(x[c], x[4 + c], 0xDD);
    const __m512i high_even = _mm512_shuffle_i32x4(x[8 + c], x[12 + c], 0x88), high_odd = _mm512_shuffle_i32x4(x[8 + c], x[12 + c], 0xDD);
    _mm512_store_si512(to + c * to_row, _mm512_shuffle_i32x4(low_even, high_even, 0x88));
    _mm512_store_si512(to + (4 + c) * to_row, _mm512_shuffle_i32x4(low_odd, high_odd, 0x88));
    _mm512_store_si512(to + (8 + c) * to_row, _mm512_shuffle_i32x4(low_even, high_even, 0xDD));
    _mm512_store_si512(to + (12 + c) * to_row, _mm512_shuffle_i32x4(low_odd, high_odd, 0xDD));
  }
}

// rows and units: multiples of 16.
inline void transpose_rows(const Unit* from, std::size_t rows, std::size_t units, Unit* to) {
  for (std::size_t r = 0; r < rows; r += kLanes)
    for (std::size_t u = 0; u < units; u += kLanes) transpose_tile(from + r * units + u, units, to + u * rows + r, rows);
}

// From packed rows; `width` rounded up to 16 numbers a pair of rows. Float32 rows are their own pairs.
inline const Unit* pair_rows(Float32Values, const Unit* from, std::size_t, std::size_t, Scratch<Unit>&) { return from; }
inline const Unit* pair_rows(Bf16Values, const Unit* from, std::size_t rows, std::size_t width, Scratch<Unit>& scratch) {
  const std::size_t units = padded_units<Bf16Values>(width), columns = round_up(width, kLanes), pairs = round_up(rows, kLanes) / 2;
  Unit* const to = scratch.at_least(pairs * columns);
  for (std::size_t i = 0; i < pairs; ++i) {
    for (std::size_t c = 0; c < columns; c += kLanes) {
      const Unit* const at = from + 2 * i * units + c / 2;
      const __m512i first = _mm512_cvtepu16_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(at)));
      const __m512i second = _mm512_cvtepu16_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(at + units)));
      _mm512_store_si512(to + i * columns + c, _mm512_or_si512(first, _mm512_slli_epi32(second, 16)));
    }
  }
  return to;
}

// c * scale to rows of the given precision; c [rows, width rounded up to 16].
template <class Values>
void unpack_rows(const float* c, std::size_t rows, std::size_t width, const float* scales, float scale, typename Values::Stored* to,
                 std::int64_t stride) {
  const std::size_t columns = round_up(width, kLanes);
  for (std::size_t r = 0; r < rows; ++r, to += stride) {
    const __m512 factor = _mm512_set1_ps(scales != nullptr ? scales[r] : scale);
    for (std::size_t i = 0; i < width; i += kLanes)
      Values::store(to + i, lanes(i, width), _mm512_mul_ps(_mm512_load_ps(c + r * columns + i), factor));
  }
}

}  // namespace signstep::cpu
