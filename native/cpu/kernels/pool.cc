// Pools on the processor: vectors over the channels of a pixel, threads over lines. Gradients are gathered: each pixel asks the windows
// that see it, so that no two threads write to one pixel and sums have one order.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "../launch.h"
#include "value_vectors.h"

namespace signstep::kernels {
namespace {

using cpu::kLanes;
using cpu::lanes;

constexpr std::int64_t kMostTaps = 65535;  // that the gradient of a maximum can tell from each other and from none

void check(const char* name, const Pool& pool) {
  const Window& w = pool.window;
  if (pool.images < 0 || w.height < 1 || w.width < 1 || w.channels < 1 || w.rows_y < 0 || w.rows_x < 0 || w.taps_y < 1 || w.taps_x < 1 ||
      w.stride_y < 1 || w.stride_x < 1)
    throw rt::Failure{rt::Failure::Kind::invalid, std::string(name) + ": sizes must be at least 1"};
}

std::int64_t images_of(const Pool& pool) {
  return pool.live.count != nullptr && pool.live.rows_per_image > 0 ? std::min<std::int64_t>(pool.images, *pool.live.count) : pool.images;
}

// body(image, first line, last line) for pieces of `lines` lines an image.
template <class Body>
void for_lines(std::int64_t images, std::int32_t lines, const Body& body) {
  if (images <= 0 || lines <= 0) return;
  const std::int64_t wanted = static_cast<std::int64_t>(ThreadPool::instance().threads()) * 4;
  const std::int64_t pieces = std::clamp<std::int64_t>((wanted + images - 1) / images, 1, lines);
  cpu::parallel(static_cast<std::size_t>(images * pieces), [&](std::size_t i) {
    const std::int64_t image = static_cast<std::int64_t>(i) / pieces, piece = static_cast<std::int64_t>(i) % pieces;
    body(image, static_cast<std::int32_t>(lines * piece / pieces), static_cast<std::int32_t>(lines * (piece + 1) / pieces));
  });
}

// Pixels of one side that a window sees from position `at` on: taps [from, to) lie inside.
struct Inside {
  std::int32_t from, to;
};
Inside inside(std::int32_t start, std::int32_t taps, std::int32_t step, std::int32_t size) {
  Inside in{0, taps};
  while (in.from < taps && start + in.from * step < 0) ++in.from;
  while (in.to > in.from && start + (in.to - 1) * step >= size) --in.to;
  return in;
}

// Something that a window or a pixel adds up: tap `number`, elements from `at` on.
struct Term {
  std::int32_t number;
  std::int64_t at;
  float divisor;
};

struct WindowAt {
  std::int32_t y, x;  // of the first tap
  Inside rows, columns;

  WindowAt(const Window& w, std::int32_t row, std::int32_t column)
      : y(w.first_y + row * w.stride_y),
        x(w.first_x + column * w.stride_x),
        rows(inside(y, w.taps_y, w.step_y, w.height)),
        columns(inside(x, w.taps_x, w.step_x, w.width)) {}

  float divisor(const Pool& pool) const {
    const std::int32_t seen = (rows.to - rows.from) * (columns.to - columns.from);
    return static_cast<float>(pool.whole ? pool.window.taps_y * pool.window.taps_x : std::max(seen, 1));
  }

  // The taps inside, in order.
  void terms(const Window& w, std::vector<Term>& to) const {
    to.clear();
    for (std::int32_t i = rows.from; i < rows.to; ++i)
      for (std::int32_t j = columns.from; j < columns.to; ++j)
        to.push_back({i * w.taps_x + j, ((std::int64_t{y} + i * w.step_y) * w.width + x + j * w.step_x) * w.channels, 1});
  }
};

// Of one side: which taps of which windows see a pixel, found once so that no division is left for the pixels.
class Side {
 public:
  struct Seer {
    std::int32_t tap, window;
  };

  Side(std::int32_t size, std::int32_t windows, std::int32_t stride, std::int32_t first, std::int32_t taps, std::int32_t step)
      : seers_(static_cast<std::size_t>(size)) {
    for (std::int32_t tap = 0; tap < taps; ++tap)
      for (std::int32_t window = 0; window < windows; ++window) {
        const std::int32_t pixel = first + window * stride + tap * step;
        if (pixel >= 0 && pixel < size) seers_[static_cast<std::size_t>(pixel)].push_back({tap, window});
      }
  }
  const std::vector<Seer>& operator[](std::int32_t pixel) const { return seers_[static_cast<std::size_t>(pixel)]; }

 private:
  std::vector<std::vector<Seer>> seers_;
};

struct Greatest {
  __m512 value = _mm512_set1_ps(-std::numeric_limits<float>::infinity());
  __m512i tap = _mm512_set1_epi32(-1);
};

template <class Values>
class Run {
 public:
  using T = typename Values::Stored;

  explicit Run(const Pool& pool)
      : pool_(pool),
        w_(pool.window),
        channels_(static_cast<std::size_t>(w_.channels)),
        padded_(cpu::round_up(channels_, kLanes)),
        image_(std::int64_t{w_.height} * w_.width * w_.channels) {}

  void max(const T* in, T* out) const {
    windows(in, out, [&](const T* image, const std::vector<Term>& terms, float, std::size_t c, __mmask16 mask) {
      return greatest(image + c, terms, mask).value;
    });
  }

  void average(const T* in, T* out) const {
    windows(in, out, [&](const T* image, const std::vector<Term>& terms, float divisor, std::size_t c, __mmask16 mask) {
      __m512 sum = _mm512_setzero_ps();
      for (const Term& term : terms) sum = _mm512_add_ps(sum, Values::load(image + term.at + c, mask));
      return _mm512_div_ps(sum, _mm512_set1_ps(divisor));
    });
  }

  void max_backward(const T* x, const T* dy, T* dx) const {
    pixels(dx, [&](std::int64_t image, std::int32_t first, std::int32_t last, const auto& for_pixels) {
      const auto [from, to] = seen_by(first, last);
      // Which tap each window between the lines takes.
      thread_local std::vector<std::uint16_t> taken;
      taken.resize(static_cast<std::size_t>(to - from) * static_cast<std::size_t>(w_.rows_x) * padded_);
      std::vector<Term> terms;
      std::uint16_t* found = taken.data();
      for (std::int32_t row = from; row < to; ++row)
        for (std::int32_t column = 0; column < w_.rows_x; ++column, found += padded_) {
          WindowAt(w_, row, column).terms(w_, terms);
          for (std::size_t c = 0; c < channels_; c += kLanes) {
            const __m512i tap = greatest(x + image * image_ + c, terms, lanes(c, channels_)).tap;
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(found + c), _mm512_cvtepi32_epi16(tap));
          }
        }
      const std::int64_t before = window(image, from, 0);
      for_pixels([&](const Term& term, std::size_t c, __mmask16 mask) {
        const std::uint16_t* taps = taken.data() + static_cast<std::size_t>(term.at - before) * padded_ + c;
        const __m256i numbers = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(taps));
        const __mmask16 own = _mm256_mask_cmpeq_epi16_mask(mask, numbers, _mm256_set1_epi16(static_cast<std::int16_t>(term.number)));
        return Values::load(dy + term.at * w_.channels + static_cast<std::int64_t>(c), own);
      });
    });
  }

  void average_backward(const T* dy, T* dx) const {
    pixels(dx, [&](std::int64_t, std::int32_t, std::int32_t, const auto& for_pixels) {
      for_pixels([&](const Term& term, std::size_t c, __mmask16 mask) {
        const __m512 gradient = Values::load(dy + term.at * w_.channels + static_cast<std::int64_t>(c), mask);
        return _mm512_div_ps(gradient, _mm512_set1_ps(term.divisor));
      });
    });
  }

 private:
  std::int64_t window(std::int64_t image, std::int32_t row, std::int32_t column) const {
    return (image * w_.rows_y + row) * w_.rows_x + column;
  }

  // The first of equals stays; a NaN is greater than any number. Without one the chain from tap to tap is a maximum long.
  Greatest greatest(const T* from, const std::vector<Term>& terms, __mmask16 mask) const {
    Greatest found;
    if (terms.empty()) return found;
    found = {Values::load(from + terms.front().at, mask), _mm512_set1_epi32(terms.front().number)};
    __mmask16 nan = _mm512_cmp_ps_mask(found.value, found.value, _CMP_UNORD_Q);
    for (std::size_t i = 1; i < terms.size(); ++i) {
      const __m512 x = Values::load(from + terms[i].at, mask);
      nan = static_cast<__mmask16>(nan | _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q));
      found.tap = _mm512_mask_set1_epi32(found.tap, _mm512_cmp_ps_mask(x, found.value, _CMP_GT_OQ), terms[i].number);
      found.value = _mm512_max_ps(x, found.value);
    }
    if (nan == 0) return found;
    for (auto term = terms.rbegin(); term != terms.rend(); ++term) {
      const __m512 x = Values::load(from + term->at, mask);
      const __mmask16 here = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
      found = {_mm512_mask_mov_ps(found.value, here, x), _mm512_mask_set1_epi32(found.tap, here, term->number)};
    }
    return found;
  }

  // out = value(image, taps inside, divisor, channel, mask) at every window.
  template <class Value>
  void windows(const T* in, T* out, const Value& value) const {
    for_lines(images_of(pool_), w_.rows_y, [&](std::int64_t image, std::int32_t first, std::int32_t last) {
      const T* own = in + image * image_;
      T* to = out + window(image, first, 0) * w_.channels;
      std::vector<Term> terms;
      for (std::int32_t row = first; row < last; ++row)
        for (std::int32_t column = 0; column < w_.rows_x; ++column, to += channels_) {
          const WindowAt at(w_, row, column);
          at.terms(w_, terms);
          const float divisor = at.divisor(pool_);
          for (std::size_t c = 0; c < channels_; c += kLanes) {
            const __mmask16 mask = lanes(c, channels_);
            Values::store(to + c, mask, value(own, terms, divisor, c, mask));
          }
        }
    });
  }

  // dx = the sum of share(term, channel, mask) over the windows that see a pixel. piece(image, first, last, for_pixels) prepares lines
  // [first, last) of an image and calls for_pixels(share).
  template <class Piece>
  void pixels(T* dx, const Piece& piece) const {
    const Side rows(w_.height, w_.rows_y, w_.stride_y, w_.first_y, w_.taps_y, w_.step_y);
    const Side columns(w_.width, w_.rows_x, w_.stride_x, w_.first_x, w_.taps_x, w_.step_x);
    for_lines(images_of(pool_), w_.height, [&](std::int64_t image, std::int32_t first, std::int32_t last) {
      piece(image, first, last, [&](const auto& share) {
        T* to = dx + image * image_ + std::int64_t{first} * w_.width * w_.channels;
        std::vector<Term> terms;
        for (std::int32_t y = first; y < last; ++y)
          for (std::int32_t x = 0; x < w_.width; ++x, to += channels_) {
            terms.clear();
            for (const auto& [i, row] : rows[y])
              for (const auto& [j, column] : columns[x])
                terms.push_back({i * w_.taps_x + j, window(image, row, column), WindowAt(w_, row, column).divisor(pool_)});
            for (std::size_t c = 0; c < channels_; c += kLanes) {
              const __mmask16 mask = lanes(c, channels_);
              __m512 sum = _mm512_setzero_ps();
              for (const Term& term : terms) sum = _mm512_add_ps(sum, share(term, c, mask));
              Values::store(to + c, mask, sum);
            }
          }
      });
    });
  }

  // Lines of windows that see lines [first, last) of the image, and perhaps some that do not.
  Inside seen_by(std::int32_t first, std::int32_t last) const {
    const std::int32_t reach = (w_.taps_y - 1) * w_.step_y;
    const auto floored = [&](std::int32_t a) { return a >= 0 ? a / w_.stride_y : -((-a + w_.stride_y - 1) / w_.stride_y); };
    const std::int32_t from = std::clamp(floored(first - w_.first_y - reach), 0, w_.rows_y);
    return {from, std::clamp(floored(last - 1 - w_.first_y) + 1, from, w_.rows_y)};
  }

  const Pool& pool_;
  const Window& w_;
  const std::size_t channels_, padded_;
  const std::int64_t image_;
};

// body(Run, T) in the precision of the pool.
template <class Body>
void submit(const char* name, const Pool& pool, rt::Stream stream, const Body& body) {
  check(name, pool);
  cpu::with_values(pool.precision, name, [&](auto values) {
    using Values = decltype(values);
    cpu::submit(stream, [pool, body] { body(Run<Values>(pool)); });
  });
}

}  // namespace

void max_pool(const Pool& pool, const void* in, void* out, rt::Stream stream) {
  submit("max_pool", pool, stream, [=](const auto& run) {
    using T = typename std::decay_t<decltype(run)>::T;
    run.max(static_cast<const T*>(in), static_cast<T*>(out));
  });
}

void max_pool_backward(const Pool& pool, const void* x, const void* dy, void* dx, rt::Stream stream) {
  if (std::int64_t{pool.window.taps_y} * pool.window.taps_x > kMostTaps)
    throw rt::Failure{rt::Failure::Kind::invalid, "max_pool_backward: a window has at most 65535 pixels"};
  submit("max_pool_backward", pool, stream, [=](const auto& run) {
    using T = typename std::decay_t<decltype(run)>::T;
    run.max_backward(static_cast<const T*>(x), static_cast<const T*>(dy), static_cast<T*>(dx));
  });
}

void average_pool(const Pool& pool, const void* in, void* out, rt::Stream stream) {
  submit("average_pool", pool, stream, [=](const auto& run) {
    using T = typename std::decay_t<decltype(run)>::T;
    run.average(static_cast<const T*>(in), static_cast<T*>(out));
  });
}

void average_pool_backward(const Pool& pool, const void* dy, void* dx, rt::Stream stream) {
  submit("average_pool_backward", pool, stream, [=](const auto& run) {
    using T = typename std::decay_t<decltype(run)>::T;
    run.average_backward(static_cast<const T*>(dy), static_cast<T*>(dx));
  });
}

}  // namespace signstep::kernels
