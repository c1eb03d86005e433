// Pools on the processor: vectors over the channels of a pixel, threads over lines. Gradients are gathered: each pixel asks the windows that
// see it, so that no two threads write to one pixel and sums have one order.
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

void check(const char* name, const Pool& pool) {
  const Window& w = pool.window;
  if (pool.images < 0 || w.height < 1 || w.width < 1 || w.channels < 1 || w.rows_y < 0 || w.rows_x < 0 || w.taps_y < 1 || w.taps_x < 1 ||
      w.taps_y > 0xFFFF / w.taps_x || w.stride_y < 1 || w.stride_x < 1)
    throw rt::Failure{rt::Failure::Kind::invalid, std::string(name) + ": sizes must be at least 1, and a window of at most 65535 pixels"};
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
};

// body(tap, place of the pixel in the image) for the taps inside, in order.
template <class Body>
void for_taps(const Window& w, const WindowAt& at, const Body& body) {
  for (std::int32_t i = at.rows.from; i < at.rows.to; ++i)
    for (std::int32_t j = at.columns.from; j < at.columns.to; ++j)
      body(i * w.taps_x + j, (std::int64_t{at.y} + i * w.step_y) * w.width + at.x + j * w.step_x);
}

// body(tap, row, column) for the windows that see pixel (y, x), in the order of their taps.
template <class Body>
void for_windows(const Window& w, std::int32_t y, std::int32_t x, const Body& body) {
  for (std::int32_t i = 0; i < w.taps_y; ++i) {
    const std::int32_t above = y - w.first_y - i * w.step_y;
    if (above < 0 || above % w.stride_y != 0 || above / w.stride_y >= w.rows_y) continue;
    for (std::int32_t j = 0; j < w.taps_x; ++j) {
      const std::int32_t left = x - w.first_x - j * w.step_x;
      if (left < 0 || left % w.stride_x != 0 || left / w.stride_x >= w.rows_x) continue;
      body(i * w.taps_x + j, above / w.stride_y, left / w.stride_x);
    }
  }
}

struct Greatest {
  __m512 value = _mm512_set1_ps(-std::numeric_limits<float>::infinity());
  __m512i tap = _mm512_set1_epi32(-1);

  // The first of equals stays; a NaN is greater than any number.
  void consider(std::int32_t number, __m512 x) {
    const __mmask16 none = _mm512_cmp_epi32_mask(tap, _mm512_setzero_si512(), _MM_CMPINT_LT);
    const __mmask16 greater = _mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask(value, value, _CMP_ORD_Q), x, value, _CMP_NLE_UQ) | none;
    value = _mm512_mask_mov_ps(value, greater, x);
    tap = _mm512_mask_mov_epi32(tap, greater, _mm512_set1_epi32(number));
  }
};

template <class Values>
class Run {
 public:
  using T = typename Values::Stored;

  explicit Run(const Pool& pool)
      : pool_(pool), w_(pool.window), channels_(static_cast<std::size_t>(w_.channels)), image_(std::int64_t{w_.height} * w_.width) {}

  void max(const T* in, T* out) const {
    windows(in, out, [&](const T* image, const WindowAt& at, std::size_t c, __mmask16 mask) { return greatest(image, at, c, mask).value; });
  }

  void average(const T* in, T* out) const {
    windows(in, out, [&](const T* image, const WindowAt& at, std::size_t c, __mmask16 mask) {
      __m512 sum = _mm512_setzero_ps();
      for_taps(w_, at, [&](std::int32_t, std::int64_t pixel) { sum = _mm512_add_ps(sum, Values::load(image + offset(pixel) + c, mask)); });
      return _mm512_div_ps(sum, _mm512_set1_ps(at.divisor(pool_)));
    });
  }

  void max_backward(const T* x, const T* dy, T* dx) const {
    for_lines(images_of(pool_), w_.height, [&](std::int64_t image, std::int32_t first, std::int32_t last) {
      const auto [from, to] = seen_by(first, last);
      // Which tap each window between the lines takes.
      const std::size_t line = static_cast<std::size_t>(w_.rows_x) * channels_;
      thread_local std::vector<std::uint16_t> taps;
      taps.resize(static_cast<std::size_t>(to - from) * line);
      const T* own = x + offset(image * image_);
      for (std::int32_t row = from; row < to; ++row)
        for (std::int32_t column = 0; column < w_.rows_x; ++column) {
          const WindowAt at(w_, row, column);
          std::uint16_t* found = taps.data() + static_cast<std::size_t>(row - from) * line + static_cast<std::size_t>(column) * channels_;
          for (std::size_t c = 0; c < channels_; c += kLanes) {
            const __mmask16 mask = lanes(c, channels_);
            _mm256_mask_storeu_epi16(found + c, mask, _mm512_cvtepi32_epi16(greatest(own, at, c, mask).tap));
          }
        }
      pixels(image, first, last, dx, [&](std::int32_t tap, std::int32_t row, std::int32_t column, std::size_t c, __mmask16 mask) {
        const std::uint16_t* found = taps.data() + static_cast<std::size_t>(row - from) * line + static_cast<std::size_t>(column) * channels_;
        const __m256i chosen = _mm256_maskz_loadu_epi16(mask, found + c);
        const __mmask16 own_tap = _mm256_cmp_epi16_mask(chosen, _mm256_set1_epi16(static_cast<std::int16_t>(tap)), _MM_CMPINT_EQ);
        return _mm512_maskz_mov_ps(own_tap, Values::load(dy + offset(window(image, row, column)) + c, mask));
      });
    });
  }

  void average_backward(const T* dy, T* dx) const {
    for_lines(images_of(pool_), w_.height, [&](std::int64_t image, std::int32_t first, std::int32_t last) {
      pixels(image, first, last, dx, [&](std::int32_t, std::int32_t row, std::int32_t column, std::size_t c, __mmask16 mask) {
        const float divisor = WindowAt(w_, row, column).divisor(pool_);
        return _mm512_div_ps(Values::load(dy + offset(window(image, row, column)) + c, mask), _mm512_set1_ps(divisor));
      });
    });
  }

 private:
  std::int64_t offset(std::int64_t pixel) const { return pixel * w_.channels; }
  std::int64_t window(std::int64_t image, std::int32_t row, std::int32_t column) const {
    return (image * w_.rows_y + row) * w_.rows_x + column;
  }

  Greatest greatest(const T* image, const WindowAt& at, std::size_t c, __mmask16 mask) const {
    Greatest found;
    for_taps(w_, at, [&](std::int32_t tap, std::int64_t pixel) { found.consider(tap, Values::load(image + offset(pixel) + c, mask)); });
    return found;
  }

  // out = value(image, window, channel, mask) at every window.
  template <class Value>
  void windows(const T* in, T* out, const Value& value) const {
    for_lines(images_of(pool_), w_.rows_y, [&](std::int64_t image, std::int32_t first, std::int32_t last) {
      const T* own = in + offset(image * image_);
      for (std::int32_t row = first; row < last; ++row)
        for (std::int32_t column = 0; column < w_.rows_x; ++column) {
          const WindowAt at(w_, row, column);
          T* to = out + offset(window(image, row, column));
          for (std::size_t c = 0; c < channels_; c += kLanes) {
            const __mmask16 mask = lanes(c, channels_);
            Values::store(to + c, mask, value(own, at, c, mask));
          }
        }
    });
  }

  // dx = the sum of share(tap, row, column, channel, mask) over the windows that see each pixel of lines [first, last).
  template <class Share>
  void pixels(std::int64_t image, std::int32_t first, std::int32_t last, T* dx, const Share& share) const {
    for (std::int32_t y = first; y < last; ++y)
      for (std::int32_t x = 0; x < w_.width; ++x) {
        T* to = dx + offset(image * image_ + std::int64_t{y} * w_.width + x);
        for (std::size_t c = 0; c < channels_; c += kLanes) {
          const __mmask16 mask = lanes(c, channels_);
          __m512 sum = _mm512_setzero_ps();
          for_windows(w_, y, x, [&](std::int32_t tap, std::int32_t row, std::int32_t column) {
            sum = _mm512_add_ps(sum, share(tap, row, column, c, mask));
          });
          Values::store(to + c, mask, sum);
        }
      }
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
  const std::size_t channels_;
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
