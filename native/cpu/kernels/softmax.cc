// softmax() and softmax_backward(), a row at a time. A row of -infinity alone gives zeros; NaN makes the whole row NaN.
#include <cmath>

#include "../launch.h"
#include "exponential.h"
#include "value_vectors.h"

namespace signstep::kernels {
namespace {

using cpu::kLanes;
using cpu::lanes;

// Pieces of rows shorter than this are not worth another thread.
constexpr std::size_t kLeastElements = 16384;

template <class Values>
void softmax_row(const typename Values::Stored* x, typename Values::Stored* y, std::size_t columns) {
  __m512 highest = _mm512_set1_ps(-INFINITY);
  for (std::size_t i = 0; i < columns; i += kLanes) {
    const __mmask16 mask = lanes(i, columns);
    highest = _mm512_mask_max_ps(highest, mask, highest, Values::load(x + i, mask));
  }
  const float maximum = _mm512_reduce_max_ps(highest);
  const __m512 shift = _mm512_set1_ps(maximum == -INFINITY ? 0.0f : maximum);
  __m512 sums = _mm512_setzero_ps();
  for (std::size_t i = 0; i < columns; i += kLanes) {
    const __mmask16 mask = lanes(i, columns);
    sums = _mm512_mask_add_ps(sums, mask, sums, cpu::exponential(_mm512_sub_ps(Values::load(x + i, mask), shift)));
  }
  const float sum = _mm512_reduce_add_ps(sums);
  const __m512 factor = _mm512_set1_ps(sum == 0.0f ? 0.0f : 1.0f / sum);
  // The exponentials again, rather than what bf16 would keep of them.
  for (std::size_t i = 0; i < columns; i += kLanes) {
    const __mmask16 mask = lanes(i, columns);
    Values::store(y + i, mask, _mm512_mul_ps(cpu::exponential(_mm512_sub_ps(Values::load(x + i, mask), shift)), factor));
  }
}

template <class Values>
void softmax_backward_row(const typename Values::Stored* y, const typename Values::Stored* dy, typename Values::Stored* dx,
                          std::size_t columns) {
  __m512 sums = _mm512_setzero_ps();
  for (std::size_t i = 0; i < columns; i += kLanes) {
    const __mmask16 mask = lanes(i, columns);
    sums = _mm512_fmadd_ps(Values::load(y + i, mask), Values::load(dy + i, mask), sums);
  }
  const __m512 sum = _mm512_set1_ps(_mm512_reduce_add_ps(sums));
  for (std::size_t i = 0; i < columns; i += kLanes) {
    const __mmask16 mask = lanes(i, columns);
    Values::store(dx + i, mask, _mm512_mul_ps(Values::load(y + i, mask), _mm512_sub_ps(Values::load(dy + i, mask), sum)));
  }
}

// row(place of its first element) for every row, on all threads.
template <class Row>
void each_row(std::int64_t rows, std::size_t columns, const Row& row) {
  const std::size_t least = std::max<std::size_t>(1, kLeastElements / columns);
  cpu::parallel_ranges(static_cast<std::size_t>(rows), least, [&](std::size_t first, std::size_t last) {
    for (std::size_t r = first; r < last; ++r) row(r * columns);
  });
}

}  // namespace

void softmax(Precision precision, const void* x, void* y, std::int64_t rows, std::int32_t columns, rt::Stream stream) {
  if (rows <= 0 || columns <= 0) return;
  cpu::with_values(precision, "softmax", [&](auto values) {
    using Values = decltype(values);
    using Stored = typename Values::Stored;
    cpu::submit(stream, [=, width = static_cast<std::size_t>(columns)] {
      const auto* const from = static_cast<const Stored*>(x);
      auto* const to = static_cast<Stored*>(y);
      each_row(rows, width, [=](std::size_t at) { softmax_row<Values>(from + at, to + at, width); });
    });
  });
}

void softmax_backward(Precision precision, const void* y, const void* dy, void* dx, std::int64_t rows, std::int32_t columns,
                      rt::Stream stream) {
  if (rows <= 0 || columns <= 0) return;
  cpu::with_values(precision, "softmax_backward", [&](auto values) {
    using Values = decltype(values);
    using Stored = typename Values::Stored;
    cpu::submit(stream, [=, width = static_cast<std::size_t>(columns)] {
      const auto *const soft = static_cast<const Stored*>(y), *const gradient = static_cast<const Stored*>(dy);
      auto* const to = static_cast<Stored*>(dx);
      each_row(rows, width, [=](std::size_t at) { softmax_backward_row<Values>(soft + at, gradient + at, to + at, width); });
    });
  });
}

}  // namespace signstep::kernels
