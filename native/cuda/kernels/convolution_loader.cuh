// Rows of windows as an operand of the mma.sync core: no such matrix exists, each chunk of it is read where the image has it. A row is
// divided into image, line and column once; from then on a thread walks along its window by additions.
#pragma once

#include "../mma/mma_core.cuh"
#include "convolution_args.cuh"

namespace signstep::kernels {
namespace {

using namespace signstep::device;

// What mma::Loader is for a matrix. Unaligned: element by element, put together to chunks in registers.
template <class Tile, bool kAligned>
class WindowLoader {
 public:
  using T = typename Tile::T;

  // stored(r): the number of the window that row r of the tile is, or -1 for none.
  template <class Number>
  __device__ __forceinline__ WindowLoader(const void* images, const WindowRows& window, Number&& number)
      : base_(static_cast<const T*>(images)), window_(window), within_(0), x_(0), y_(0), column_(0), left_(window.segments_y) {
    const int thread = static_cast<int>(threadIdx.x);
    chunk_ = thread % kChunks;
    first_ = thread / kChunks;
#pragma unroll
    for (int p = 0; p < kPasses; ++p) {
      const int row = number(first_ + p * kRowsAPass);
      const int line = static_cast<int>(window.columns.quotient(row < 0 ? 0 : row, false));
      const int image = static_cast<int>(window.lines.quotient(line, false));
      const int y = window.first_y + (line - image * static_cast<int>(window.lines.divisor)) * window.stride_y;
      left_of_[p] = window.first_x + (row - line * static_cast<int>(window.columns.divisor)) * window.stride_x;
      top_[p] = row < 0 ? kNowhere : y;
      start_[p] = (image * window.height + y) * window.line + left_of_[p];
    }
    advance(chunk_ * kUnits);
  }

  // The next kDepth columns into the stage's part for this operand.
  __device__ __forceinline__ void load(Shared<std::uint8_t> stage, int) {
    if constexpr (kAligned) {
#pragma unroll
      for (int p = 0; p < kPasses; ++p) {
        const bool inside = is_inside(p);
        cp_async16(place(stage, p), inside ? base_ + static_cast<std::int64_t>(start_[p] + offset()) * kElements : base_, inside);
      }
      advance(kChunks);
    } else {
      std::uint32_t words[kPasses][4];
#pragma unroll
      for (int i = 0; i < kElements; ++i) {
#pragma unroll
        for (int p = 0; p < kPasses; ++p) {
          const std::uint32_t bits = is_inside(p) ? bits_of(base_[start_[p] + offset()]) : 0;
          if constexpr (sizeof(T) == 4)
            words[p][i] = bits;
          else
            words[p][i / 2] = i % 2 == 0 ? bits : words[p][i / 2] | bits << 16;
        }
        advance(1);
      }
#pragma unroll
      for (int p = 0; p < kPasses; ++p)
        shared_cast<uint4>(place(stage, p))[0] = make_uint4(words[p][0], words[p][1], words[p][2], words[p][3]);
      advance((kChunks - 1) * kElements);
    }
  }

 private:
  static constexpr int kChunks = Tile::kRowBytes / 16, kElements = 16 / static_cast<int>(sizeof(T));
  static constexpr int kUnits = kAligned ? 1 : kElements;  // of a chunk
  static constexpr int kRowsAPass = Tile::kThreads / kChunks, kPasses = Tile::kRows / kRowsAPass;
  static_assert(Tile::kRows % kRowsAPass == 0 && kRowsAPass % 8 == 0);
  static constexpr int kNowhere = -(1 << 30), kBeyond = 1 << 29;  // lines; their sum is outside of an image too

  __device__ __forceinline__ static std::uint32_t bits_of(float value) { return __float_as_uint(value); }
  template <class Short>
  __device__ __forceinline__ static std::uint32_t bits_of(Short value) {
    return value.bits;
  }

  __device__ __forceinline__ bool is_inside(int p) const {
    return static_cast<unsigned>(top_[p] + y_) < static_cast<unsigned>(window_.height) &&
           static_cast<unsigned>(left_of_[p] + x_ + within_) < static_cast<unsigned>(window_.line);
  }
  __device__ __forceinline__ int offset() const { return y_ * window_.line + x_ + within_; }
  __device__ __forceinline__ Shared<T> place(Shared<std::uint8_t> stage, int p) const {
    return shared_cast<T>(stage + mma::chunk_at<Tile::kRowBytes>(first_ + p * kRowsAPass, chunk_));
  }

  __device__ __forceinline__ void advance(int units) {
    within_ += units;
    while (within_ >= window_.length) {
      within_ -= window_.length;
      x_ += window_.step_x;
      if (++column_ < window_.segments_x) continue;
      column_ = x_ = 0;
      y_ = --left_ > 0 ? y_ + window_.step_y : kBeyond;
    }
  }

  const T* base_;
  const WindowRows& window_;
  int start_[kPasses], top_[kPasses], left_of_[kPasses];  // of each row's window: its first unit, line, unit in the line
  int within_, x_, y_, column_, left_;                    // of the segment this thread is in; left_: lines of segments, this one included
  int chunk_, first_;
};

}  // namespace
}  // namespace signstep::kernels
