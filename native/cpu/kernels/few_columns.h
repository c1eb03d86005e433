// A convolution to at most 4 columns, as the gradient of an image is: one vector of 16 columns a tap would be almost empty. Each pixel is
// multiplied by the weights of all taps at once, which fills vectors (16 taps to 3 columns: 48 lanes of 48), and each window then adds up
// what its pixels have for it. Lines of products go through a ring as long as the window is high, which stays in the second cache.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "../launch.h"
#include "convolution_grid.h"
#include "gemm_task.h"

namespace signstep::kernels {
namespace {

template <class T>
class FewColumns {
 public:
  static bool serves(const Convolution& c) {
    const Window& w = c.window;
    const std::size_t pixel = static_cast<std::size_t>(w.channels) * sizeof(T);
    const bool neighbours = w.stride_y == 1 && w.stride_x == 1 && w.step_y == 1 && w.step_x == 1;
    // With fewer channels the sums take longer than the products.
    return neighbours && c.product.n <= kMostColumns && w.taps_y * w.taps_x > 1 && pixel >= 64 && pixel % 4 == 0 &&
           pixel / 4 * static_cast<std::size_t>(panels_of(c)) <= kUnits;
  }

  explicit FewColumns(const Convolution& c)
      : c_(c),
        w_(c.window),
        n_(c.product.n),
        taps_(w_.taps_y * w_.taps_x),
        panels_(panels_of(c)),
        pixel_(static_cast<std::size_t>(w_.channels) * sizeof(T)),
        first_(std::min(w_.first_x, 0)),
        end_(std::max(w_.width, w_.first_x + w_.rows_x + w_.taps_x - 1)),
        line_(static_cast<std::size_t>(end_ - first_ + kBlockRows)) {}

  void run() const {
    const std::int64_t images = (rows_under_attack(c_.product) + rows_an_image() - 1) / rows_an_image();
    if (images <= 0) return;
    // Pieces of one image compute some lines twice.
    const std::int64_t wanted = static_cast<std::int64_t>(ThreadPool::instance().threads()) * 4;
    const std::int64_t pieces = std::clamp<std::int64_t>((wanted + images - 1) / images, 1, std::max(1, w_.rows_y / (4 * w_.taps_y)));
    cpu::parallel(static_cast<std::size_t>(images * pieces), [&](std::size_t i) {
      const std::int64_t image = static_cast<std::int64_t>(i) / pieces, piece = static_cast<std::int64_t>(i) % pieces;
      const auto line = [&](std::int64_t of) { return static_cast<std::int32_t>(w_.rows_y * of / pieces); };
      run_lines(image, line(piece), line(piece + 1));
    });
  }

 private:
  static constexpr int kMostColumns = 4;

  // Of a pixel with the taps of a panel.
  struct alignas(64) Products {
    float of[kPanelColumns];
  };

  static int taps_a_panel(const Convolution& c) { return kPanelColumns / c.product.n; }
  static int panels_of(const Convolution& c) {
    return static_cast<int>(ceil_div(std::int64_t{c.window.taps_y} * c.window.taps_x, taps_a_panel(c)));
  }
  std::int64_t rows_an_image() const { return std::int64_t{w_.rows_y} * w_.rows_x; }
  int columns_of(int panel) const { return std::min(taps_a_panel(c_), taps_ - panel * taps_a_panel(c_)) * n_; }
  std::int32_t* panel_at(Scratch& own, int panel) const {
    return own.panels + static_cast<std::size_t>(panel) * pixel_ / 4 * kPanelColumns;
  }

  // Columns in the order (tap, column), where b has (column, tap).
  void pack(Scratch& own) const {
    std::vector<std::byte> ordered(static_cast<std::size_t>(kPanelColumns) * pixel_);
    for (int panel = 0; panel < panels_; ++panel) {
      const int columns = columns_of(panel), first_tap = panel * taps_a_panel(c_);
      for (int column = 0; column < columns; ++column) {
        const int row = column % n_ * taps_ + first_tap + column / n_;
        std::memcpy(ordered.data() + static_cast<std::size_t>(column) * pixel_,
                    static_cast<const std::byte*>(c_.product.b) + static_cast<std::size_t>(row) * pixel_, pixel_);
      }
      pack_panel(ordered.data(), pixel_, columns, pixel_, panel_at(own, panel));
    }
  }

  // Windows of lines [from, to).
  void run_lines(std::int64_t image, std::int32_t from, std::int32_t to) const {
    Scratch& own = scratch();
    pack(own);
    // Of each panel, as many lines as a window is high; each of pixels first_ … end_, zeros outside of the image.
    thread_local std::vector<Products> ring;
    ring.assign(line_ * static_cast<std::size_t>(panels_ * w_.taps_y), {});
    std::int32_t next = std::max(0, w_.first_y + from);
    std::vector<const float*> taps;
    for (std::int32_t y = from; y < to; ++y) {
      const std::int32_t top = w_.first_y + y;
      for (next = std::max(next, top); next < std::min(w_.height, top + w_.taps_y); ++next)
        for (int panel = 0; panel < panels_; ++panel) multiply_line(own, image, next, panel, ring.data() + start(next, panel));
      taps.clear();
      for (std::int32_t i = std::max(0, -top); i < std::min(w_.taps_y, w_.height - top); ++i)
        for (std::int32_t j = 0; j < w_.taps_x; ++j) {
          const int tap = i * w_.taps_x + j;
          const Products& first = ring[start(top + i, tap / taps_a_panel(c_)) + static_cast<std::size_t>(w_.first_x - first_ + j)];
          taps.push_back(first.of + tap % taps_a_panel(c_) * n_);
        }
      add_up(own, image, y, taps);
    }
  }

  // Where the ring keeps a line.
  std::size_t start(std::int32_t y, int panel) const { return static_cast<std::size_t>(y % w_.taps_y * panels_ + panel) * line_; }

  void multiply_line(Scratch& own, std::int64_t image, std::int32_t y, int panel, Products* line) const {
    const auto first = static_cast<std::size_t>((image * w_.height + y) * w_.width);
    const std::byte* pixels = static_cast<const std::byte*>(c_.product.a) + first * pixel_;
    line -= first_;
    for (std::int32_t x = 0; x < w_.width; x += kBlockRows) {
      for (std::int32_t r = 0; r < kBlockRows; ++r)
        own.pieces[0][r] = pixels + static_cast<std::size_t>(std::min(x + r, w_.width - 1)) * pixel_;
      multiply<sizeof(T) == 4>((columns_of(panel) + kVector - 1) / kVector, {own.pieces, 1, pixel_ / 4}, panel_at(own, panel), true,
                               line[x].of);
    }
    std::fill(line + w_.width, line + end_, Products{});
  }

  void add_up(Scratch& own, std::int64_t image, std::int32_t y, const std::vector<const float*>& taps) const {
    for (std::int32_t x = 0; x < w_.rows_x; x += kBlockRows) {
      Block block{image * rows_an_image() + std::int64_t{y} * w_.rows_x + x, {}, std::min(kBlockRows, w_.rows_x - x), 0, n_, own.tile};
      for (std::int32_t r = 0; r < block.rows; ++r) {
        __m128 sum = _mm_setzero_ps();
        for (const float* tap : taps) sum = _mm_add_ps(sum, _mm_loadu_ps(tap + static_cast<std::ptrdiff_t>(x + r) * kPanelColumns));
        _mm_store_ps(own.tile + r * kPanelColumns, sum);
        block.places[r] = place(c_.grid, image, y, x + r);
      }
      finish_block<T>(c_.product, block);
    }
  }

  const Convolution& c_;
  const Window w_;
  const int n_, taps_, panels_;
  const std::size_t pixel_;
  const std::int32_t first_, end_;
  const std::size_t line_;
};

}  // namespace
}  // namespace signstep::kernels
