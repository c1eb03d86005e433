// What the partial statistics of a row (kernels.h, RowNorm) make of it.
#pragma once

#include "../ptx/device.h"
#include "kernels.h"

namespace signstep::kernels {

struct RowMoments {
  float mean, rstd;
};

// Always in the same order, and from the mean of the whole row: a mean of many deviations costs no digits.
__device__ __forceinline__ RowMoments row_moments(const float* statistics, std::int64_t row, std::int32_t columns, float epsilon) {
  const std::int32_t parts = (columns + kStatisticsColumns - 1) / kStatisticsColumns;
  const float count = static_cast<float>(columns), last = static_cast<float>(columns - (parts - 1) * kStatisticsColumns);
  const auto width = [&](std::int32_t part) { return part + 1 == parts ? last : static_cast<float>(kStatisticsColumns); };
  const float2* of_row = reinterpret_cast<const float2*>(statistics) + row * parts;
  float mean = 0, squares = 0;
  for (std::int32_t part = 0; part < parts; ++part) mean = fmaf(width(part), of_row[part].x, mean);
  mean /= count;
  for (std::int32_t part = 0; part < parts; ++part) {
    const float apart = of_row[part].x - mean;
    squares += fmaf(width(part) * apart, apart, of_row[part].y);
  }
  return {mean, 1.0f / sqrtf(squares / count + epsilon)};
}

}  // namespace signstep::kernels
