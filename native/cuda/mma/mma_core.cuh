// The matrix core of every chip from sm_80 on: a tile of a . b^T by mma.sync, both operands K-major, rows of 64 or 128 bytes brought into a
// ring of shared-memory stages by cp.async. bf16, fp16 and e4m3 multiply as they are; float32 multiplies as three products of tf32 parts.
#pragma once

#include <type_traits>

#include "../ptx/device.h"

namespace signstep::mma {
namespace {

using namespace signstep::device;

// A warp computes kSlabs * 16 rows by 64 columns; kWarpsM by kWarpsN warps make a block. One stage holds kRowBytes of each row. Two blocks
// share a multiprocessor where kBlocks is 2: one computes while the other waits or writes.
template <class T_, int kWarpsM_, int kWarpsN_, int kSlabs_, int kRowBytes_, int kStages_, int kBlocks_>
struct Tile {
  using T = T_;
  static constexpr int kWarpsM = kWarpsM_, kWarpsN = kWarpsN_, kSlabs = kSlabs_, kRowBytes = kRowBytes_, kStages = kStages_,
                       kBlocks = kBlocks_;
  static constexpr int kRows = kWarpsM * kSlabs * 16, kColumns = kWarpsN * 64;
  static constexpr int kThreads = kWarpsM * kWarpsN * 32;
  static constexpr int kDepth = kRowBytes / static_cast<int>(sizeof(T));  // of K, a stage
  static constexpr int kStageBytes = (kRows + kColumns) * kRowBytes;
  static constexpr int kSharedBytes = kStages * kStageBytes;
};

// Where the 16-byte chunk of a row lies in a stage. The exclusive or lets the eight rows that one phase of ldmatrix reads fall into all
// banks: rows of 128 bytes begin at the same bank, of 64 bytes every second does.
template <int kRowBytes>
__device__ __forceinline__ int chunk_at(int row, int chunk) {
  static_assert(kRowBytes == 64 || kRowBytes == 128);
  const int turn = kRowBytes == 128 ? row & 7 : row >> 1 & 3;
  return row * kRowBytes + ((chunk ^ turn) << 4);
}

// What one thread brings in of an operand's tile: one chunk of every kRowsAPass-th row. Rows beyond the matrix and columns beyond K become
// zeros. Aligned: K is a multiple of the chunk and the pointer lies on 16 bytes.
template <class Tile, int kRows, bool kAligned>
struct Loader {
  using T = typename Tile::T;
  static constexpr int kChunks = Tile::kRowBytes / 16, kChunk = 16 / static_cast<int>(sizeof(T));
  static constexpr int kRowsAPass = Tile::kThreads / kChunks, kPasses = kRows / kRowsAPass;
  static_assert(kRows % kRowsAPass == 0 && kRowsAPass % 8 == 0);

  const T* base;
  std::uint32_t row_start[kPasses];  // in chunks where aligned, else in elements
  unsigned valid;
  int k, chunk, first;

  // stored(r): the row of the stored matrix that row r of the tile is, or -1 for none.
  template <class Stored>
  __device__ __forceinline__ Loader(const void* matrix, int k_, Stored&& stored) : base(static_cast<const T*>(matrix)), valid(0), k(k_) {
    const int thread = static_cast<int>(threadIdx.x);
    chunk = thread % kChunks;
    first = thread / kChunks;
#pragma unroll
    for (int p = 0; p < kPasses; ++p) {
      const int row = stored(first + p * kRowsAPass);
      valid |= (row >= 0 ? 1u : 0u) << p;
      row_start[p] = row < 0 ? 0 : static_cast<std::uint32_t>(row) * static_cast<std::uint32_t>(kAligned ? k / kChunk : k);
    }
  }

  // Columns from `column` on into the stage's part for this operand.
  __device__ __forceinline__ void load(Shared<std::uint8_t> stage, int column) const {
    const int from = column + chunk * kChunk;
#pragma unroll
    for (int p = 0; p < kPasses; ++p) {
      const bool row_valid = (valid >> p & 1) != 0;
      Shared<T> to = shared_cast<T>(stage + chunk_at<Tile::kRowBytes>(first + p * kRowsAPass, chunk));
      if constexpr (kAligned) {
        const bool inside = row_valid && from < k;
        cp_async16(to, inside ? base + static_cast<std::size_t>(row_start[p]) * kChunk + from : base, inside);
      } else {
        const T* source = base + row_start[p] + from;
#pragma unroll
        for (int i = 0; i < kChunk; ++i) to[i] = row_valid && from + i < k ? source[i] : from_float<T>(0.0f);
      }
    }
  }
};

// One warp's share of 32 bytes of K: 16 columns of a 16-bit type, 8 of float32, 32 of e4m3; they lie alike in ldmatrix's registers.
template <class Tile>
struct Fragments {
  std::uint32_t a[Tile::kSlabs][4];
  std::uint32_t b[4][4];  // [pair of column groups]: k low and k high of the first 8 columns, then of the second

  __device__ __forceinline__ void load(Shared<std::uint8_t> stage, int warp_row, int warp_column, int step) {
    using T = typename Tile::T;
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int s = 0; s < Tile::kSlabs; ++s)
      ldmatrix_x4(a[s], shared_cast<T>(stage + chunk_at<Tile::kRowBytes>(warp_row + s * 16 + lane % 16, step * 2 + lane / 16)));
    const int column = warp_column + lane / 16 * 8 + lane % 8, chunk = step * 2 + lane / 8 % 2;
#pragma unroll
    for (int j = 0; j < 4; ++j)
      ldmatrix_x4(b[j], shared_cast<T>(stage + (Tile::kRows * Tile::kRowBytes + chunk_at<Tile::kRowBytes>(column + j * 16, chunk))));
  }
};

template <int kSlabs>
using Accumulators = float[kSlabs][8][4];

template <class Tile>
__device__ __forceinline__ void multiply(Accumulators<Tile::kSlabs>& acc, const Fragments<Tile>& f) {
#pragma unroll
  for (int s = 0; s < Tile::kSlabs; ++s)
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      const std::uint32_t b[2] = {f.b[j / 2][j % 2 * 2], f.b[j / 2][j % 2 * 2 + 1]};
      if constexpr (std::is_same_v<typename Tile::T, e4m3>)
        mma_m16n8k32_e4m3(acc[s][j], f.a[s], b);
      else
        mma_m16n8k16<typename Tile::T>(acc[s][j], f.a[s], b);
    }
}

// A float32 as the sum of two tf32 numbers; what is left is below 2^-22 of it.
template <int kCount>
__device__ __forceinline__ void split_tf32(const std::uint32_t (&x)[kCount], std::uint32_t (&high)[kCount], std::uint32_t (&low)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    const float value = __uint_as_float(x[i]);
    high[i] = to_tf32(value);
    low[i] = to_tf32(value - __uint_as_float(high[i]));
  }
}

// high . high + high . low + low . high, small terms first. Tensor cores cut off where they add, so each 8 columns of K start from zero and
// are added to the sum in float32 with rounding: without that the error grows with K in one direction.
template <class Tile>
__device__ __forceinline__ void multiply_float32(Accumulators<Tile::kSlabs>& acc, const Fragments<Tile>& f) {
  std::uint32_t a_high[Tile::kSlabs][4], a_low[Tile::kSlabs][4];
#pragma unroll
  for (int s = 0; s < Tile::kSlabs; ++s) split_tf32(f.a[s], a_high[s], a_low[s]);
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const std::uint32_t b[2] = {f.b[j / 2][j % 2 * 2], f.b[j / 2][j % 2 * 2 + 1]};
    std::uint32_t b_high[2], b_low[2];
    split_tf32(b, b_high, b_low);
#pragma unroll
    for (int s = 0; s < Tile::kSlabs; ++s) {
      float part[4] = {};
      mma_m16n8k8_tf32(part, a_low[s], b_high);
      mma_m16n8k8_tf32(part, a_high[s], b_low);
      mma_m16n8k8_tf32(part, a_high[s], b_high);
#pragma unroll
      for (int e = 0; e < 4; ++e) acc[s][j][e] += part[e];
    }
  }
}

template <int kSlabs>
__device__ __forceinline__ void set_zero(Accumulators<kSlabs>& acc) {
#pragma unroll
  for (int s = 0; s < kSlabs; ++s)
#pragma unroll
    for (int j = 0; j < 8; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e) acc[s][j][e] = 0.0f;
}

// acc += part, part = 0: what tensor cores summed with few bits goes into a float32 sum.
template <int kSlabs>
__device__ __forceinline__ void promote(Accumulators<kSlabs>& acc, Accumulators<kSlabs>& part) {
#pragma unroll
  for (int s = 0; s < kSlabs; ++s)
#pragma unroll
    for (int j = 0; j < 8; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e) acc[s][j][e] += part[s][j][e];
  set_zero<kSlabs>(part);
}

// acc = a . b^T over all of K. a and b: Loader, or what brings in the same stages of rows that no matrix holds; asked for columns in
// ascending order, kDepth at a time. `memory` is Tile::kSharedBytes long and free again, for all warps, when this returns.
template <class Tile, class LoaderA, class LoaderB>
__device__ __forceinline__ void main_loop(Accumulators<Tile::kSlabs>& acc, Shared<std::uint8_t> memory, LoaderA& a, LoaderB& b, int k) {
  constexpr int kSteps = Tile::kRowBytes / 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int warp_row = warp / Tile::kWarpsN * Tile::kSlabs * 16, warp_column = warp % Tile::kWarpsN * 64;
  const int rounds = (k + Tile::kDepth - 1) / Tile::kDepth;
  const auto fetch = [&](int round, int slot) {
    if (round < rounds) {
      Shared<std::uint8_t> stage = memory + slot * Tile::kStageBytes;
      a.load(stage, round * Tile::kDepth);
      b.load(stage + Tile::kRows * Tile::kRowBytes, round * Tile::kDepth);
    }
    cp_async_commit();  // an empty group where there was nothing: the count of groups in flight stays the same
  };

  set_zero<Tile::kSlabs>(acc);
  // e4m3 only: the sum of the last 128 columns of K at most (see mma_m16n8k32_e4m3).
  constexpr bool kInParts = std::is_same_v<typename Tile::T, e4m3>;
  [[maybe_unused]] Accumulators<Tile::kSlabs> part;
  if constexpr (kInParts) set_zero<Tile::kSlabs>(part);

#pragma unroll
  for (int s = 0; s < Tile::kStages - 1; ++s) fetch(s, s);
  int slot = 0, next_slot = Tile::kStages - 1;
#pragma unroll 1
  for (int round = 0; round < rounds; ++round) {
    cp_async_wait<Tile::kStages - 2>();
    __syncthreads();  // this round's stage is there for all, and all have read the one that is refilled now
    fetch(round + Tile::kStages - 1, next_slot);
    Shared<std::uint8_t> stage = memory + slot * Tile::kStageBytes;
    Fragments<Tile> fragments[2];
    fragments[0].load(stage, warp_row, warp_column, 0);
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      if (step + 1 < kSteps) fragments[(step + 1) % 2].load(stage, warp_row, warp_column, step + 1);
      if constexpr (sizeof(typename Tile::T) == 4)
        multiply_float32<Tile>(acc, fragments[step % 2]);
      else if constexpr (kInParts)
        multiply<Tile>(part, fragments[step % 2]);
      else
        multiply<Tile>(acc, fragments[step % 2]);
    }
    if constexpr (kInParts) {
      if ((round + 1) * Tile::kDepth % 128 == 0 || round + 1 == rounds) promote<Tile::kSlabs>(acc, part);
    }
    slot = slot + 1 == Tile::kStages ? 0 : slot + 1;
    next_slot = next_slot + 1 == Tile::kStages ? 0 : next_slot + 1;
  }
  cp_async_wait<0>();
  __syncthreads();
}

}  // namespace
}  // namespace signstep::mma
