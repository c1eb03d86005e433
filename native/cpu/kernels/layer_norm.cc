// layer_norm() and layer_norm_backward(), a row at a time: its later passes read it from the first-level cache.
#include <cmath>

#include "../launch.h"
#include "statistics.h"
#include "value_vectors.h"

namespace signstep::kernels {
namespace {

using cpu::kLanes;
using cpu::lanes;

// Pieces of rows shorter than this are not worth another thread.
constexpr std::size_t kLeastElements = 16384;

template <class Values>
void norm_row(const LayerNorm& args, std::size_t row) {
  using Stored = typename Values::Stored;
  const auto columns = static_cast<std::size_t>(args.columns);
  const Stored* const x = static_cast<const Stored*>(args.x) + row * columns;
  Stored* const y = static_cast<Stored*>(args.y) + row * columns;
  const float count = static_cast<float>(args.columns);
  __m512 mean = _mm512_setzero_ps();
  if (!args.rms) {
    __m512 sums = _mm512_setzero_ps();
    for (std::size_t i = 0; i < columns; i += kLanes) sums = _mm512_add_ps(sums, Values::load(x + i, lanes(i, columns)));
    mean = _mm512_set1_ps(_mm512_reduce_add_ps(sums) / count);
  }
  __m512 squares = _mm512_setzero_ps(), rest = _mm512_setzero_ps();
  for (std::size_t i = 0; i < columns; i += kLanes) {
    const __mmask16 mask = lanes(i, columns);
    const __m512 deviation = _mm512_maskz_sub_ps(mask, Values::load(x + i, mask), mean);
    squares = _mm512_fmadd_ps(deviation, deviation, squares);
    rest = _mm512_add_ps(rest, deviation);
  }
  float variance = _mm512_reduce_add_ps(squares) / count;
  if (!args.rms) {
    // What rounding left of the mean: it matters where the mean is many deviations from 0 and the row long.
    const float correction = _mm512_reduce_add_ps(rest) / count;
    mean = _mm512_add_ps(mean, _mm512_set1_ps(correction));
    variance = std::max(0.0f, variance - correction * correction);
  }
  const float rstd = 1.0f / std::sqrt(variance + args.epsilon);
  if (args.rstd != nullptr) args.rstd[row] = rstd;
  const __m512 factor = _mm512_set1_ps(rstd);
  for (std::size_t i = 0; i < columns; i += kLanes) {
    const __mmask16 mask = lanes(i, columns);
    Values::store(y + i, mask, _mm512_mul_ps(_mm512_sub_ps(Values::load(x + i, mask), mean), factor));
  }
}

template <class Values>
void norm_backward_row(const LayerNormBackward& args, std::size_t row) {
  using Stored = typename Values::Stored;
  const auto columns = static_cast<std::size_t>(args.columns);
  const std::size_t at = row * columns;
  const Stored* const dy = static_cast<const Stored*>(args.dy) + at;
  const Stored* const y = static_cast<const Stored*>(args.y) + at;
  const Stored* const addend = args.addend == nullptr ? nullptr : static_cast<const Stored*>(args.addend) + at;
  Stored* const dx = static_cast<Stored*>(args.dx) + at;
  // Of a folded LayerNorm args.y is what was normalised.
  const bool given = args.statistics == nullptr;
  const cpu::RowMoments moments = given ? cpu::RowMoments{0.0f, args.rstd[row]}
                                        : cpu::row_moments(args.statistics, static_cast<std::int64_t>(row), args.columns, args.epsilon);
  const __m512 offset = _mm512_set1_ps(moments.mean), stretch = _mm512_set1_ps(given ? 1.0f : moments.rstd);
  const auto normalised = [&](std::size_t i, __mmask16 mask) {
    return _mm512_maskz_mul_ps(mask, _mm512_sub_ps(Values::load(y + i, mask), offset), stretch);
  };
  __m512 sums = _mm512_setzero_ps(), slopes = _mm512_setzero_ps();
  for (std::size_t i = 0; i < columns; i += kLanes) {
    const __mmask16 mask = lanes(i, columns);
    const __m512 gradient = Values::load(dy + i, mask);
    sums = _mm512_add_ps(sums, gradient);
    slopes = _mm512_fmadd_ps(gradient, normalised(i, mask), slopes);
  }
  const float count = static_cast<float>(args.columns);
  const __m512 mean = _mm512_set1_ps(args.rms ? 0.0f : _mm512_reduce_add_ps(sums) / count);
  const __m512 slope = _mm512_set1_ps(_mm512_reduce_add_ps(slopes) / count), rstd = _mm512_set1_ps(moments.rstd);
  for (std::size_t i = 0; i < columns; i += kLanes) {
    const __mmask16 mask = lanes(i, columns);
    const __m512 centred = _mm512_sub_ps(Values::load(dy + i, mask), mean);
    const __m512 inner = _mm512_fnmadd_ps(normalised(i, mask), slope, centred);
    const __m512 added = addend == nullptr ? _mm512_setzero_ps() : Values::load(addend + i, mask);
    Values::store(dx + i, mask, _mm512_fmadd_ps(inner, rstd, added));
  }
}

template <class Args>
std::size_t rows_under_attack(const Args& args) {
  if (args.live.count == nullptr || args.live.rows_per_image == 0) return static_cast<std::size_t>(args.rows);
  const std::int64_t live = static_cast<std::int64_t>(std::max(0, *args.live.count)) * args.live.rows_per_image;
  return static_cast<std::size_t>(std::min(live, args.rows));
}

// row(index) for every row of an image under attack, on all threads.
template <class Args, class Row>
void each_row(const Args& args, const Row& row) {
  const std::size_t least = std::max<std::size_t>(1, kLeastElements / static_cast<std::size_t>(args.columns));
  cpu::parallel_ranges(rows_under_attack(args), least, [&](std::size_t first, std::size_t last) {
    for (std::size_t r = first; r < last; ++r) row(r);
  });
}

}  // namespace

void layer_norm(const LayerNorm& args, rt::Stream stream) {
  if (args.rows <= 0 || args.columns <= 0) return;
  cpu::with_values(args.precision, "layer_norm", [&](auto values) {
    using Values = decltype(values);
    cpu::submit(stream, [args] { each_row(args, [&](std::size_t row) { norm_row<Values>(args, row); }); });
  });
}

void layer_norm_backward(const LayerNormBackward& args, rt::Stream stream) {
  if (args.rows <= 0 || args.columns <= 0) return;
  if ((args.rstd == nullptr) == (args.statistics == nullptr))
    throw rt::Failure{rt::Failure::Kind::invalid, "layer_norm_backward: either rstd or statistics of the forward pass"};
  cpu::with_values(args.precision, "layer_norm_backward", [&](auto values) {
    using Values = decltype(values);
    cpu::submit(stream, [args] { each_row(args, [&](std::size_t row) { norm_backward_row<Values>(args, row); }); });
  });
}

}  // namespace signstep::kernels
