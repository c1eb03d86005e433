// Statistics of 64 columns of a row, and what those of a whole row make of it: kernels.h, RowNorm.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "value_vectors.h"

namespace signstep::cpu {

struct RowMoments {
  float mean, rstd;
};

// Always in the same order, and from the mean of the whole row: a mean of many deviations costs no digits.
inline RowMoments row_moments(const float* statistics, std::int64_t row, std::int32_t columns, float epsilon) {
  constexpr std::int32_t kPart = kernels::kStatisticsColumns;
  const std::int32_t parts = kernels::statistics_parts(columns);
  const float* of_row = statistics + 2 * row * parts;
  const auto width = [&](std::int32_t part) { return static_cast<float>(std::min(kPart, columns - part * kPart)); };
  float mean = 0, squares = 0;
  for (std::int32_t part = 0; part < parts; ++part) mean += width(part) * of_row[2 * part];
  mean /= static_cast<float>(columns);
  for (std::int32_t part = 0; part < parts; ++part) {
    const float apart = of_row[2 * part] - mean;
    squares += of_row[2 * part + 1] + width(part) * apart * apart;
  }
  return {mean, 1.0f / std::sqrt(squares / static_cast<float>(columns) + epsilon)};
}

// to[0], to[1] = mean and sum of squared deviations of `columns` <= 64 values (rms: 0 and sum of squares).
template <class Values>
inline void write_statistics(const typename Values::Stored* from, std::size_t columns, bool rms, float* to) {
  __m512 v[kernels::kStatisticsColumns / kLanes], sum = _mm512_setzero_ps();
  for (std::size_t i = 0; i < columns; i += kLanes) {
    v[i / kLanes] = Values::load(from + i, lanes(i, columns));
    sum = _mm512_add_ps(sum, v[i / kLanes]);
  }
  const float mean = rms ? 0.0f : _mm512_reduce_add_ps(sum) / static_cast<float>(columns);
  __m512 squares = _mm512_setzero_ps();
  for (std::size_t i = 0; i < columns; i += kLanes) {
    const __m512 apart = _mm512_maskz_sub_ps(lanes(i, columns), v[i / kLanes], _mm512_set1_ps(mean));
    squares = _mm512_fmadd_ps(apart, apart, squares);
  }
  to[0] = mean;
  to[1] = _mm512_reduce_add_ps(squares);
}

}  // namespace signstep::cpu
