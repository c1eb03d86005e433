// convolution() on the processor: the product of gemm() over rows that no matrix holds. What a window sees is read where it lies, tap by tap,
// or a row of zeros outside of the image; where a tap is shorter than a cache line's half, the six rows of a block are gathered first.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "../launch.h"
#include "gemm_task.h"

namespace signstep::kernels {
namespace {

constexpr std::size_t kChunk = kUnits * 4;  // bytes of a row that are taken together, at most
constexpr std::size_t kShortTap = 32;       // bytes

alignas(64) constexpr std::byte kZeros[kChunk] = {};

[[noreturn]] void refuse(const Convolution& c, const std::string& why) {
  const Window& w = c.window;
  const std::string shape = std::to_string(c.images) + " x " + std::to_string(w.height) + " x " + std::to_string(w.width) + " x " +
                            std::to_string(w.channels) + " (images, height, width, channels), " + std::to_string(w.taps_y) + " x " +
                            std::to_string(w.taps_x) + " taps to " + std::to_string(c.product.n);
  throw rt::Failure{rt::Failure::Kind::invalid, "convolution " + shape + ": " + why};
}

void check(const Convolution& c) {
  const Gemm& g = c.product;
  const Window& w = c.window;
  if (g.precision == Precision::fp16) refuse(c, "the processor computes in bf16 and float32, not in fp16");
  if (c.images < 0 || g.n < 1 || w.height < 1 || w.width < 1 || w.channels < 1 || w.taps_y < 1 || w.taps_x < 1 || w.rows_y < 0 || w.rows_x < 0)
    refuse(c, "sizes must be at least 1");
  if (g.out == nullptr) refuse(c, "no output");
  if (g.table != nullptr || g.epilogue == Epilogue::step_linf) refuse(c, "a convolution has no table and makes no step");
  if (is_store(g.epilogue)) return;
  const bool relu = g.epilogue == Epilogue::relu || g.epilogue == Epilogue::relu_backward;
  if (g.scale != nullptr || (g.residual != nullptr && !relu)) refuse(c, "this epilogue has no scale or residual");
  if (!is_activation(g.epilogue) && g.aux == nullptr) refuse(c, "the derivative needs the pre-activation");
}

// Position of a row among the windows.
struct Position {
  std::int64_t image;
  std::int32_t y, x;

  Position(const Window& w, std::int64_t row)
      : image(row / (std::int64_t{w.rows_y} * w.rows_x)),
        y(static_cast<std::int32_t>(row / w.rows_x % w.rows_y)),
        x(static_cast<std::int32_t>(row % w.rows_x)) {}

  void advance(const Window& w) {
    if (++x < w.rows_x) return;
    x = 0;
    if (++y < w.rows_y) return;
    y = 0;
    ++image;
  }
};

template <class T>
class WindowLayout {
 public:
  explicit WindowLayout(const Convolution& c)
      : w_(c.window),
        grid_(c.grid),
        a_(static_cast<const std::byte*>(c.product.a)),
        pixel_(static_cast<std::size_t>(w_.channels) * sizeof(T)),
        row_bytes_(pixel_ * static_cast<std::size_t>(w_.taps_y * w_.taps_x)),
        gathers_(pixel_ < kShortTap || pixel_ % 4 != 0) {}

  // Whole taps, or a part of one where it is longer than that. Gathered rows may be cut anywhere.
  std::size_t bytes_from(std::size_t from) const {
    if (gathers_) return std::min(kChunk, row_bytes_ - from);
    if (pixel_ > kChunk) return std::min(kChunk, pixel_ - from % pixel_);
    return std::min(kChunk / pixel_ * pixel_, row_bytes_ - from);
  }

  BlockOperand rows(Scratch& own, std::int64_t row, std::int64_t last_row, std::size_t from, std::size_t bytes) const {
    return gathers_ ? gathered(own, row, last_row, from, bytes) : in_place(own, row, last_row, from, bytes);
  }

  void places(std::int64_t row, int count, std::int64_t* out) const {
    Position at(w_, row);
    for (int r = 0; r < count; ++r, at.advance(w_))
      out[r] = (at.image * grid_.height + grid_.first_y + at.y * grid_.stride_y) * grid_.width + grid_.first_x + at.x * grid_.stride_x;
  }

 private:
  const std::byte* image(std::int64_t i) const { return a_ + static_cast<std::size_t>(i * w_.height * w_.width) * pixel_; }

  BlockOperand in_place(Scratch& own, std::int64_t row, std::int64_t last_row, std::size_t from, std::size_t bytes) const {
    const std::size_t first = from / pixel_, pieces = std::max<std::size_t>(1, bytes / pixel_), within = from % pixel_;
    const std::byte* zeros = kZeros;
    Position at(w_, row);
    for (int r = 0; r < kBlockRows; ++r) {
      const std::byte* base = image(at.image);
      auto j = static_cast<std::int32_t>(first % static_cast<std::size_t>(w_.taps_x));
      std::int32_t y = w_.first_y + at.y * w_.stride_y + static_cast<std::int32_t>(first / static_cast<std::size_t>(w_.taps_x)) * w_.step_y;
      const std::int32_t left = w_.first_x + at.x * w_.stride_x;
      for (std::size_t piece = 0; piece < pieces; ++piece) {
        const std::int32_t x = left + j * w_.step_x;
        const bool inside = inside_of(y, w_.height) && inside_of(x, w_.width);
        own.pieces[piece][r] = inside ? base + (static_cast<std::size_t>(y) * static_cast<std::size_t>(w_.width) + static_cast<std::size_t>(x)) * pixel_ + within : zeros;
        if (++j == w_.taps_x) j = 0, y += w_.step_y;
      }
      if (row + r + 1 < last_row) at.advance(w_);
    }
    return {own.pieces, pieces, std::min(bytes, pixel_) / 4};
  }

  // Neighbouring pixels of a line are copied at once.
  BlockOperand gathered(Scratch& own, std::int64_t row, std::int64_t last_row, std::size_t from, std::size_t bytes) const {
    const std::size_t padded = (bytes + 3) / 4 * 4;
    Position at(w_, row);
    for (int r = 0; r < kBlockRows; ++r) {
      std::byte* to = own.rows + static_cast<std::size_t>(r) * padded;
      gather(at, from, bytes, to);
      std::memset(to + bytes, 0, padded - bytes);
      own.pieces[0][r] = to;
      if (row + r + 1 < last_row) at.advance(w_);
    }
    return {own.pieces, 1, padded / 4};
  }

  void gather(const Position& at, std::size_t from, std::size_t bytes, std::byte* to) const {
    const std::byte* base = image(at.image);
    const std::size_t line = pixel_ * static_cast<std::size_t>(w_.taps_x), end = from + bytes;
    const std::int32_t left = w_.first_x + at.x * w_.stride_x;
    for (std::int32_t i = static_cast<std::int32_t>(from / line); static_cast<std::size_t>(i) * line < end; ++i) {
      const std::int32_t y = w_.first_y + at.y * w_.stride_y + i * w_.step_y;
      const std::size_t start = static_cast<std::size_t>(i) * line;
      const std::size_t low = std::max(from, start), high = std::min(end, start + line);
      if (inside_of(y, w_.height)) {
        copy_line(base + static_cast<std::size_t>(y) * static_cast<std::size_t>(w_.width) * pixel_, left, low - start, high - start, to + (low - from));
      } else {
        std::memset(to + (low - from), 0, high - low);
      }
    }
  }

  // Bytes [low, high) of what the taps of one line see, from pixel `left` on.
  void copy_line(const std::byte* pixels, std::int32_t left, std::size_t low, std::size_t high, std::byte* to) const {
    if (w_.step_x == 1) {
      const auto pixel = static_cast<std::int64_t>(pixel_), line = static_cast<std::int64_t>(w_.width) * pixel, shift = left * pixel;
      const std::int64_t first = std::clamp<std::int64_t>(-shift, static_cast<std::int64_t>(low), static_cast<std::int64_t>(high));
      const std::int64_t last = std::clamp<std::int64_t>(line - shift, first, static_cast<std::int64_t>(high));
      std::memset(to, 0, static_cast<std::size_t>(first) - low);
      if (last > first) std::memcpy(to + (static_cast<std::size_t>(first) - low), pixels + shift + first, static_cast<std::size_t>(last - first));
      std::memset(to + (static_cast<std::size_t>(last) - low), 0, high - static_cast<std::size_t>(last));
      return;
    }
    for (std::size_t at = low; at < high;) {
      const std::size_t tap = at / pixel_, within = at % pixel_, count = std::min(pixel_ - within, high - at);
      const std::int32_t x = left + static_cast<std::int32_t>(tap) * w_.step_x;
      std::byte* out = to + (at - low);
      if (inside_of(x, w_.width))
        std::memcpy(out, pixels + static_cast<std::size_t>(x) * pixel_ + within, count);
      else
        std::memset(out, 0, count);
      at += count;
    }
  }

  static bool inside_of(std::int32_t at, std::int32_t size) { return static_cast<std::uint32_t>(at) < static_cast<std::uint32_t>(size); }

  const Window w_;
  const Grid grid_;
  const std::byte* const a_;
  const std::size_t pixel_, row_bytes_;
  const bool gathers_;
};

template <class T>
void run(const Convolution& c) {
  run_tasks<T>(c.product, WindowLayout<T>(c));
}

}  // namespace

void convolution(const Convolution& args, rt::Stream stream) {
  check(args);
  Convolution own = args;
  own.product.rows = std::int64_t{args.images} * args.window.rows_y * args.window.rows_x;
  own.product.k = args.window.taps_y * args.window.taps_x * args.window.channels;
  if (own.product.rows == 0) return;
  cpu::submit(stream, [own] { own.product.precision == Precision::float32 ? run<float>(own) : run<Bf16>(own); });
}

}  // namespace signstep::kernels
