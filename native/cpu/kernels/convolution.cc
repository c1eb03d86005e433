// convolution() on the processor: the product of gemm() over rows that no matrix holds. What a window sees is read where it lies, tap by
// tap, or a row of zeros outside of the image; where a tap is shorter than half a cache line, the six rows of a block are gathered first.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "../../cuda/kernels/product_faults.h"
#include "../launch.h"
#include "convolution_grid.h"
#include "few_columns.h"
#include "gemm_task.h"

namespace signstep::kernels {
namespace {

constexpr std::size_t kChunk = kUnits * 4;  // bytes of a row that are taken together, at most
constexpr std::size_t kShortTap = 32;       // bytes

alignas(64) constexpr std::byte kZeros[kChunk] = {};

void check(const Convolution& c) {
  if (c.product.precision == Precision::fp16) refuse(c, "the processor computes in bf16 and float32, not in fp16");
  refuse_faulty(c);
}

// Position of a row among the windows.
struct Position {
  std::int64_t image;
  std::int32_t y, x;
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

  Position at(std::int64_t row) const {
    return {row / (std::int64_t{w_.rows_y} * w_.rows_x), static_cast<std::int32_t>(row / w_.rows_x % w_.rows_y),
            static_cast<std::int32_t>(row % w_.rows_x)};
  }
  void advance(Position& at) const {
    if (++at.x < w_.rows_x) return;
    at.x = 0;
    if (++at.y < w_.rows_y) return;
    at.y = 0;
    ++at.image;
  }

  BlockOperand rows(Scratch& own, const Position& at, int count, std::size_t from, std::size_t bytes) const {
    return gathers_ ? gathered(own, at, count, from, bytes) : in_place(own, at, count, from, bytes);
  }

  void places(Position at, int count, std::int64_t* out) const {
    for (int r = 0; r < count; ++r, advance(at)) out[r] = place(grid_, at.image, at.y, at.x);
  }

 private:
  const std::byte* image(std::int64_t i) const { return a_ + static_cast<std::size_t>(i * w_.height * w_.width) * pixel_; }

  BlockOperand in_place(Scratch& own, Position at, int count, std::size_t from, std::size_t bytes) const {
    const std::size_t first = from / pixel_, pieces = std::max<std::size_t>(1, bytes / pixel_), within = from % pixel_;
    const auto first_i = static_cast<std::int32_t>(first / static_cast<std::size_t>(w_.taps_x));
    const auto first_j = static_cast<std::int32_t>(first % static_cast<std::size_t>(w_.taps_x));
    const std::byte* zeros = kZeros;
    for (int r = 0; r < kBlockRows; ++r) {
      const std::byte* base = image(at.image) + within;
      const std::int32_t left = w_.first_x + at.x * w_.stride_x;
      std::int32_t y = w_.first_y + at.y * w_.stride_y + first_i * w_.step_y, j = first_j;
      for (std::size_t piece = 0; piece < pieces; ++piece) {
        const std::int32_t x = left + j * w_.step_x;
        const bool inside = inside_of(y, w_.height) && inside_of(x, w_.width);
        own.pieces[piece][r] = inside ? base + static_cast<std::size_t>(std::int64_t{y} * w_.width + x) * pixel_ : zeros;
        if (++j == w_.taps_x) j = 0, y += w_.step_y;
      }
      if (r + 1 < count) advance(at);
    }
    return {own.pieces, pieces, std::min(bytes, pixel_) / 4};
  }

  BlockOperand gathered(Scratch& own, Position at, int count, std::size_t from, std::size_t bytes) const {
    const std::size_t padded = (bytes + 3) / 4 * 4;
    for (int r = 0; r < kBlockRows; ++r) {
      std::byte* to = own.rows + static_cast<std::size_t>(r) * padded;
      own.pieces[0][r] = to;
      gather(at, from, from + bytes, to);
      if (r + 1 < count) advance(at);
    }
    return {own.pieces, 1, padded / 4};
  }

  // Bytes [from, end) of what a window sees, and zeros up to the next multiple of 4; up to 64 more are overwritten.
  void gather(const Position& at, std::size_t from, std::size_t end, std::byte* to) const {
    const std::byte* base = image(at.image);
    const std::size_t line = pixel_ * static_cast<std::size_t>(w_.taps_x);
    const std::int32_t left = w_.first_x + at.x * w_.stride_x;
    auto i = static_cast<std::int32_t>(from / line);
    for (std::size_t start = static_cast<std::size_t>(i) * line; start < end; start += line, ++i) {
      const std::int32_t y = w_.first_y + at.y * w_.stride_y + i * w_.step_y;
      const std::size_t low = std::max(from, start), high = std::min(end, start + line);
      if (inside_of(y, w_.height))
        to = copy_line(base + static_cast<std::size_t>(std::int64_t{y} * w_.width) * pixel_, left, low - start, high - start, to);
      else
        to = put_zeros(to, high - low);
    }
    _mm512_storeu_si512(to, _mm512_setzero_si512());
  }

  // Bytes [low, high) of what the taps of one line see, from pixel `left` on: neighbouring pixels at once.
  std::byte* copy_line(const std::byte* pixels, std::int32_t left, std::size_t low, std::size_t high, std::byte* to) const {
    if (w_.step_x == 1) {
      const auto pixel = static_cast<std::int64_t>(pixel_), width = std::int64_t{w_.width} * pixel, shift = left * pixel;
      const auto begin = static_cast<std::int64_t>(low), end = static_cast<std::int64_t>(high);
      if (begin + shift >= 0 && end + shift <= width) return put_bytes(to, pixels + shift + begin, high - low);
      const std::int64_t first = std::clamp(-shift, begin, end), last = std::clamp(width - shift, first, end);
      to = put_zeros(to, static_cast<std::size_t>(first - begin));
      to = put_bytes(to, pixels + shift + first, static_cast<std::size_t>(last - first));
      return put_zeros(to, static_cast<std::size_t>(end - last));
    }
    for (std::size_t at = low; at < high;) {
      const std::size_t tap = at / pixel_, within = at % pixel_, count = std::min(pixel_ - within, high - at);
      const std::int32_t x = left + static_cast<std::int32_t>(tap) * w_.step_x;
      const std::byte* from = pixels + x * static_cast<std::int64_t>(pixel_) + within;
      to = inside_of(x, w_.width) ? put_bytes(to, from, count) : put_zeros(to, count);
      at += count;
    }
    return to;
  }

  // Copies in whole vectors, the last of which ends in zeros: what comes next overwrites them. By calls of memcpy 7 x 7 taps of 3 channels to
  // 64 columns reached 58 GFLOP/s of a core, by vectors 150.
  static std::byte* put_bytes(std::byte* to, const std::byte* from, std::size_t bytes) {
    std::size_t at = 0;
    for (; at + 64 <= bytes; at += 64) _mm512_storeu_si512(to + at, _mm512_loadu_si512(from + at));
    const auto rest = static_cast<__mmask32>((std::uint64_t{1} << ((bytes - at) / 2)) - 1);
    if (rest != 0) _mm512_storeu_si512(to + at, _mm512_maskz_loadu_epi16(rest, from + at));
    return to + bytes;
  }
  static std::byte* put_zeros(std::byte* to, std::size_t bytes) {
    for (std::size_t at = 0; at < bytes; at += 64) _mm512_storeu_si512(to + at, _mm512_setzero_si512());
    return to + bytes;
  }

  static bool inside_of(std::int32_t at, std::int32_t size) { return static_cast<std::uint32_t>(at) < static_cast<std::uint32_t>(size); }

  const Window w_;
  const Grid grid_;
  const std::byte* const a_;
  const std::size_t pixel_, row_bytes_;
  const bool gathers_;
};

// One tap at every pixel, written where it lies: the images are the matrix.
bool is_matrix(const Window& w, const Grid& grid) {
  return w.taps_y == 1 && w.taps_x == 1 && w.first_y == 0 && w.first_x == 0 && w.stride_y == 1 && w.stride_x == 1 &&
         w.rows_y == w.height && w.rows_x == w.width && grid.stride_y == 1 && grid.stride_x == 1 && grid.first_y == 0 &&
         grid.first_x == 0 && grid.height == w.height && grid.width == w.width;
}

template <class T>
void run(const Convolution& c) {
  if (FewColumns<T>::serves(c)) return FewColumns<T>(c).run();
  run_tasks<T>(c.product, WindowLayout<T>(c));
}

}  // namespace

void convolution(const Convolution& args, rt::Stream stream) {
  check(args);
  Convolution own = args;
  own.product.rows = std::int64_t{args.images} * args.window.rows_y * args.window.rows_x;
  own.product.k = args.window.taps_y * args.window.taps_x * args.window.channels;
  own.product.a_map = own.product.out_map = {};
  if (own.product.rows == 0) return;
  if (is_matrix(own.window, own.grid)) return gemm(own.product, stream);
  cpu::submit(stream, [own] { own.product.precision == Precision::float32 ? run<float>(own) : run<Bf16>(own); });
}

}  // namespace signstep::kernels
