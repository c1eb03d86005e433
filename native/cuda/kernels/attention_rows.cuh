// Rows of one image and head of q, k, v, out and their gradients, 16-bit types: into shared memory, and as fragments of mma.m16n8k16
// straight from and to device memory. Rows begin on 16 bytes and the head size is a multiple of 8; what it lacks of kHead columns are
// zeros.
#pragma once

#include "attention_launch.h"
#include "element.cuh"

namespace signstep::kernels {
namespace {

// Rows in shared memory are kHead elements and 16 bytes apart: an odd multiple of 16 bytes, so that the eight rows that a phase of ldmatrix
// reads lie in different banks.
template <int kHead>
inline constexpr int kPitch = kHead + 8;

template <int kHead>
inline constexpr int kChunkKeys = chunk_keys(kHead);
template <int kHead>
inline constexpr int kChunkElements = 2 * kChunkKeys<kHead> * kPitch<kHead>;  // a chunk's keys, then its values

// Base of an operand for one image and head, and the distance of its rows.
template <class T>
struct HeadRows {
  T* base;
  std::int64_t stride;

  template <class P>
  __device__ __forceinline__ HeadRows(P* data, const Strided& at, int image, int head)
      : base(static_cast<T*>(data) + at.offset + image * at.image + head * at.head), stride(at.row) {}
  __device__ __forceinline__ T* row(int r) const { return base + r * stride; }
};

// How many rows of queries or of keys a head has, and how wide they are.
struct HeadShape {
  int rows, head_size;
};

// Rows first … first + rows - 1 (rows a multiple of 8) into shared memory by all threads of the block; zeros beyond the rows there are and beyond
// the head size. There after this thread's cp_async_wait and a barrier.
template <int kHead, class T>
__device__ __forceinline__ void fetch_rows(Shared<T> to, const HeadRows<const T>& from, int first, int rows, const HeadShape& shape) {
  // Eight neighbouring lanes write 128 bytes to different banks: eight chunks of 16 bytes of one row, or, of the kRest chunks that are
  // left, those of every kRest-th row, which begin kRest chunks apart modulo the banks.
  constexpr int kWhole = kHead / 64 * 8, kRest = kHead / 8 - kWhole;
  const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  const auto fetch = [&](int row, int column) {
    const bool inside = first + row < shape.rows && column < shape.head_size;
    cp_async16(to + (row * kPitch<kHead> + column), inside ? from.row(first + row) + column : from.base, inside);
  };
  if constexpr (kWhole > 0) {
#pragma unroll 1
    for (int i = thread; i < rows * kWhole; i += threads) fetch(i / kWhole, i % kWhole * 8);
  }
  if constexpr (kRest > 0) {
    static_assert(kRest == 2 || kRest == 4);
#pragma unroll 1
    for (int i = thread; i < rows * kRest; i += threads) {
      const int lane = i % 8, turn = i / 8 % kRest, eight = i / 8 / kRest * 8;
      fetch(eight + turn + lane / kRest * kRest, (kWhole + lane % kRest) * 8);
    }
  }
}

// Of four lanes, lane i gives words 0 … 3 of group i and gets word i of groups 0 … 3; its own inverse. In this way a lane that owns a
// 32-bit word of each of four 16-byte groups in a fragment loads and stores one whole group.
__device__ __forceinline__ void transpose_quad(std::uint32_t (&w)[4]) {
  const int lane = static_cast<int>(threadIdx.x);
#pragma unroll
  for (int i = 0; i < 4; i += 2) {
    const bool odd = (lane & 1) != 0;
    const std::uint32_t got = __shfl_xor_sync(0xFFFFFFFFu, odd ? w[i] : w[i + 1], 1);
    w[i] = odd ? got : w[i];
    w[i + 1] = odd ? w[i + 1] : got;
  }
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const bool upper = (lane & 2) != 0;
    const std::uint32_t got = __shfl_xor_sync(0xFFFFFFFFu, upper ? w[i] : w[i + 2], 2);
    w[i] = upper ? got : w[i];
    w[i + 2] = upper ? w[i + 2] : got;
  }
}

// The A fragment of rows first … first + 15 and columns column … column + 15, from device memory. All lanes of the warp call it.
template <class T>
__device__ __forceinline__ void load_fragment(std::uint32_t (&a)[4], const HeadRows<const T>& from, int first, int column,
                                              const HeadShape& shape) {
  const int lane = static_cast<int>(threadIdx.x) % 32, in_quad = lane % 4;
  const int row = first + lane / 4 + in_quad / 2 * 8, group = column + in_quad % 2 * 8;
  uint4 words = make_uint4(0, 0, 0, 0);
  if (row < shape.rows && group < shape.head_size) words = *reinterpret_cast<const uint4*>(from.row(row) + group);
  std::uint32_t w[4] = {words.x, words.y, words.z, words.w};
  transpose_quad(w);
  a[0] = w[0], a[1] = w[2], a[2] = w[1], a[3] = w[3];
}

// Two accumulators side by side, of rows first … first + 15 and columns column … column + 15, to device memory: rows lane / 4 times
// `upper`, rows lane / 4 + 8 times `lower`. All lanes of the warp call it.
template <class T>
__device__ __forceinline__ void store_fragment(const HeadRows<T>& to, int first, int column, const float (&left)[4],
                                               const float (&right)[4], float upper, float lower, const HeadShape& shape) {
  const int lane = static_cast<int>(threadIdx.x) % 32, in_quad = lane % 4;
  std::uint32_t w[4] = {pack2<T>(left[0] * upper, left[1] * upper), pack2<T>(right[0] * upper, right[1] * upper),
                        pack2<T>(left[2] * lower, left[3] * lower), pack2<T>(right[2] * lower, right[3] * lower)};
  transpose_quad(w);
  const int row = first + lane / 4 + in_quad / 2 * 8, group = column + in_quad % 2 * 8;
  if (row < shape.rows && group < shape.head_size) *reinterpret_cast<uint4*>(to.row(row) + group) = make_uint4(w[0], w[1], w[2], w[3]);
}

// Fragments from rows in shared memory, pitch in elements. `a`: 16 rows by 16 columns as left operand.
template <class T>
__device__ __forceinline__ void left_fragment(std::uint32_t (&a)[4], Shared<T> rows, int pitch, int first, int column) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  ldmatrix_x4(a, rows + ((first + lane % 16) * pitch + column + lane / 16 * 8));
}
// The same of the transposed: rows first … of the operand are columns of what lies in memory.
template <class T>
__device__ __forceinline__ void left_fragment_of_columns(std::uint32_t (&a)[4], Shared<T> rows, int pitch, int first, int column) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  ldmatrix_x4_trans(a, rows + ((column + lane / 16 * 8 + lane % 8) * pitch + first + lane / 8 % 2 * 8));
}
// Right operands of two products side by side: rows first … first + 15 in memory are the 16 columns of the result, their columns are summed
// over.
template <class T>
__device__ __forceinline__ void right_fragments(std::uint32_t (&left)[2], std::uint32_t (&right)[2], Shared<T> rows, int pitch, int first,
                                                int column) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  std::uint32_t b[4];
  ldmatrix_x4(b, rows + ((first + lane / 16 * 8 + lane % 8) * pitch + column + lane / 8 % 2 * 8));
  left[0] = b[0], left[1] = b[1], right[0] = b[2], right[1] = b[3];
}
// The same where rows in memory are summed over and columns column … column + 15 are those of the result.
template <class T>
__device__ __forceinline__ void right_fragments_of_rows(std::uint32_t (&left)[2], std::uint32_t (&right)[2], Shared<T> rows, int pitch,
                                                        int first, int column) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  std::uint32_t b[4];
  ldmatrix_x4_trans(b, rows + ((first + lane % 16) * pitch + column + lane / 16 * 8));
  left[0] = b[0], left[1] = b[1], right[0] = b[2], right[1] = b[3];
}

// Two accumulators side by side, 16 rows by 16 columns, as left operand of the next product.
template <class T>
__device__ __forceinline__ void as_left_fragment(std::uint32_t (&a)[4], const float (&left)[4], const float (&right)[4]) {
  a[0] = pack2<T>(left[0], left[1]), a[1] = pack2<T>(left[2], left[3]);
  a[2] = pack2<T>(right[0], right[1]), a[3] = pack2<T>(right[2], right[3]);
}

// Sum over the four lanes that share the rows of a fragment.
__device__ __forceinline__ float quad_sum(float x) {
  x += __shfl_xor_sync(0xFFFFFFFFu, x, 1);
  return x + __shfl_xor_sync(0xFFFFFFFFu, x, 2);
}
__device__ __forceinline__ float quad_maximum(float x) {
  x = fmaxf(x, __shfl_xor_sync(0xFFFFFFFFu, x, 1));
  return fmaxf(x, __shfl_xor_sync(0xFFFFFFFFu, x, 2));
}

template <int kTiles>
__device__ __forceinline__ void clear(float (&acc)[kTiles][4]) {
#pragma unroll
  for (int j = 0; j < kTiles; j++)
#pragma unroll
    for (int e = 0; e < 4; e++) acc[j][e] = 0.0f;
}

inline constexpr float kLog2E = 1.44269504088896340736f, kLn2 = 0.69314718055994530942f;

}  // namespace
}  // namespace signstep::kernels
