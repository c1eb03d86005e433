// attention() and attention_backward() by plain multiply-adds in float32: for float32 (the forward pass that re-scores results, reference),
// and for 16-bit operands that the matrix units cannot take, such as heads of 12 or 20 elements. Any strides. A warp owns four rows of the
// sequence; 32 rows of the other side pass by in shared memory, a lane each for scores, then a lane a column for the products.
#include "attention_launch.h"
#include "element.cuh"

namespace signstep::kernels {
namespace {

inline constexpr int kRows = 4, kWarps = 8, kOwn = kRows * kWarps;  // rows of a warp, and of a block
inline constexpr int kOthers = 32;                                  // rows that pass by at a time
inline constexpr int kColumns = 4;                                  // of a lane: head sizes up to 128

// Rows in shared memory: an odd number of 16-byte groups apart, so that lanes that each read a group of a row of their own meet no
// conflict.
struct Rows {
  Shared<float> data;
  int width, pitch;
  __device__ __forceinline__ float4 group(int row, int column) const { return shared_cast<float4>(data + (row * pitch + column))[0]; }
  __device__ __forceinline__ float at(int row, int column) const { return data[row * pitch + column]; }
};

__host__ __device__ constexpr int row_width(int head_size) { return (head_size + 7) / 8 * 8; }
__host__ __device__ constexpr int row_pitch(int head_size) { return row_width(head_size) + 4; }

template <class T>
__device__ __forceinline__ const T* head_base(const void* data, const Strided& at, int image, int head) {
  return static_cast<const T*>(data) + at.offset + image * at.image + head * at.head;
}
template <class T>
__device__ __forceinline__ T* head_base(void* data, const Strided& at, int image, int head) {
  return static_cast<T*>(data) + at.offset + image * at.image + head * at.head;
}

// `count` rows from row `first` on, by all threads; zeros beyond the `rows` there are and beyond the head size.
template <class T>
__device__ __forceinline__ void fetch_rows(const Rows& to, const T* from, std::int64_t stride, int first, int count, int rows,
                                           int head_size) {
  for (int i = static_cast<int>(threadIdx.x); i < count * to.width; i += kWarps * 32) {
    const int row = i / to.width, column = i % to.width;
    const bool inside = first + row < rows && column < head_size;
    to.data[row * to.pitch + column] = inside ? to_float(from[(first + row) * stride + column]) : 0.0f;
  }
}

// Products of this warp's rows with the other row of this lane.
__device__ __forceinline__ void scores(float (&s)[kRows], const Rows& own, const Rows& others) {
  const int lane = static_cast<int>(threadIdx.x) % 32, first = static_cast<int>(threadIdx.x) / 32 * kRows;
#pragma unroll
  for (int r = 0; r < kRows; r++) s[r] = 0.0f;
#pragma unroll 2
  for (int column = 0; column < own.width; column += 4) {
    const float4 b = others.group(lane, column);
#pragma unroll
    for (int r = 0; r < kRows; r++) {
      const float4 a = own.group(first + r, column);
      s[r] = fmaf(a.x, b.x, fmaf(a.y, b.y, fmaf(a.z, b.z, fmaf(a.w, b.w, s[r]))));
    }
  }
}

// acc[r][c] += sum over the 32 others of the weight that their lane holds, times column lane + 32 c of their row.
__device__ __forceinline__ void add_weighted(float (&acc)[kRows][kColumns], const float (&weights)[kRows], const Rows& others) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll 4
  for (int other = 0; other < kOthers; other++) {
    float values[kColumns];
#pragma unroll
    for (int c = 0; c < kColumns; c++) values[c] = lane + 32 * c < others.width ? others.at(other, lane + 32 * c) : 0.0f;
#pragma unroll
    for (int r = 0; r < kRows; r++) {
      const float weight = __shfl_sync(0xFFFFFFFFu, weights[r], other);
#pragma unroll
      for (int c = 0; c < kColumns; c++) acc[r][c] = fmaf(weight, values[c], acc[r][c]);
    }
  }
}

template <class T>
__device__ __forceinline__ void write_rows(T* to, std::int64_t stride, int first, const float (&acc)[kRows][kColumns],
                                           const float (&factor)[kRows], int rows, int head_size) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int r = 0; r < kRows; r++)
#pragma unroll
    for (int c = 0; c < kColumns; c++)
      if (first + r < rows && lane + 32 * c < head_size)
        to[(first + r) * stride + lane + 32 * c] = from_float<T>(acc[r][c] * factor[r]);
}

__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int i = 16; i > 0; i /= 2) x += __shfl_xor_sync(0xFFFFFFFFu, x, i);
  return x;
}
__device__ __forceinline__ float warp_maximum(float x) {
#pragma unroll
  for (int i = 16; i > 0; i /= 2) x = fmaxf(x, __shfl_xor_sync(0xFFFFFFFFu, x, i));
  return x;
}

__device__ __forceinline__ void clear(float (&acc)[kRows][kColumns]) {
#pragma unroll
  for (int r = 0; r < kRows; r++)
#pragma unroll
    for (int c = 0; c < kColumns; c++) acc[r][c] = 0.0f;
}

template <class T>
__global__ void __launch_bounds__(kWarps * 32, 2) attention_forward_plain(const __grid_constant__ Attention args) {
  const int image = static_cast<int>(blockIdx.x) / args.heads, head = static_cast<int>(blockIdx.x) % args.heads;
  if (args.live != nullptr && image >= *args.live) return;
  const int lane = static_cast<int>(threadIdx.x) % 32, block_row = static_cast<int>(blockIdx.y) * kOwn;
  const int first = block_row + static_cast<int>(threadIdx.x) / 32 * kRows;
  const Shared<float> memory = shared_cast<float>(dynamic_shared());
  const int width = row_width(args.head_size), pitch = row_pitch(args.head_size);
  const Rows q{memory, width, pitch}, k{memory + kOwn * pitch, width, pitch}, v{memory + (kOwn + kOthers) * pitch, width, pitch};

  fetch_rows(q, head_base<T>(args.q, args.q_at, image, head), args.q_at.row, block_row, kOwn, args.queries, args.head_size);
  float out[kRows][kColumns], maximum[kRows], sum[kRows];
  clear(out);
#pragma unroll
  for (int r = 0; r < kRows; r++) maximum[r] = -INFINITY, sum[r] = 0.0f;
  for (int key = 0; key < args.length; key += kOthers) {
    __syncthreads();  // the rows before are read
    fetch_rows(k, head_base<T>(args.k, args.k_at, image, head), args.k_at.row, key, kOthers, args.length, args.head_size);
    fetch_rows(v, head_base<T>(args.v, args.v_at, image, head), args.v_at.row, key, kOthers, args.length, args.head_size);
    __syncthreads();
    if (first >= args.queries) continue;  // a warp without rows only fetches
    float p[kRows];
    scores(p, q, k);
#pragma unroll
    for (int r = 0; r < kRows; r++) {
      const float score = key + lane < args.length ? p[r] * args.scale : -INFINITY;
      const float higher = fmaxf(maximum[r], warp_maximum(score)), shrink = expf(maximum[r] - higher);
      maximum[r] = higher;
      p[r] = expf(score - higher);
      sum[r] = fmaf(sum[r], shrink, p[r]);
#pragma unroll
      for (int c = 0; c < kColumns; c++) out[r][c] *= shrink;
    }
    add_weighted(out, p, v);
  }
  float factor[kRows];
#pragma unroll
  for (int r = 0; r < kRows; r++) {
    sum[r] = warp_sum(sum[r]);
    factor[r] = 1.0f / sum[r];
    if (lane == 0 && first + r < args.queries && args.lse != nullptr)
      args.lse[static_cast<std::int64_t>(blockIdx.x) * args.queries + first + r] = maximum[r] + logf(sum[r]);
  }
  write_rows(head_base<T>(args.out, args.out_at, image, head), args.out_at.row, first, out, factor, args.queries, args.head_size);
}

// Sum of dout * out of one query, the same in all lanes; dout from shared memory.
template <class T>
__device__ __forceinline__ float query_delta(const Rows& dout, int row, const T* out, bool valid, int head_size) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float sum = 0.0f;
#pragma unroll
  for (int c = 0; c < kColumns; c++)
    if (valid && lane + 32 * c < head_size) sum = fmaf(dout.at(row, lane + 32 * c), to_float(out[lane + 32 * c]), sum);
  return warp_sum(sum);
}

// kKeys: the block owns keys and computes dk and dv, queries pass by. Otherwise it owns queries and computes dq, keys pass by.
// Two blocks a multiprocessor: left to itself ptxas aims at three on sm_120 and spills.
template <class T, bool kKeys>
__global__ void __launch_bounds__(kWarps * 32, 2) attention_backward_plain(const __grid_constant__ AttentionBackward args) {
  const Attention& shape = args.forward;
  const int image = static_cast<int>(blockIdx.x) / shape.heads, head = static_cast<int>(blockIdx.x) % shape.heads;
  if (shape.live != nullptr && image >= *shape.live) return;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int block_row = static_cast<int>(blockIdx.y) * kOwn, first = block_row + warp * kRows;
  const T* const q = head_base<T>(shape.q, shape.q_at, image, head);
  const T* const k = head_base<T>(shape.k, shape.k_at, image, head);
  const T* const v = head_base<T>(shape.v, shape.v_at, image, head);
  const T* const dout = head_base<T>(args.dout, shape.out_at, image, head);
  const T* const out = head_base<T>(static_cast<const void*>(shape.out), shape.out_at, image, head);
  const float* const lse = shape.lse + static_cast<std::int64_t>(blockIdx.x) * shape.queries;
  const int own_rows = kKeys ? shape.length : shape.queries, other_rows = kKeys ? shape.queries : shape.length;

  const Shared<float> memory = shared_cast<float>(dynamic_shared());
  const int width = row_width(shape.head_size), pitch = row_pitch(shape.head_size);
  // own_a and other_a give the scores, own_b and other_b the gradients of the probabilities.
  const Rows own_a{memory, width, pitch}, own_b{memory + kOwn * pitch, width, pitch};
  const Rows other_a{memory + 2 * kOwn * pitch, width, pitch}, other_b{memory + (2 * kOwn + kOthers) * pitch, width, pitch};
  const Shared<float> deltas = memory + 2 * (kOwn + kOthers) * pitch;  // of the queries that pass by

  fetch_rows(own_a, kKeys ? k : q, kKeys ? shape.k_at.row : shape.q_at.row, block_row, kOwn, own_rows, shape.head_size);
  fetch_rows(own_b, kKeys ? v : dout, kKeys ? shape.v_at.row : shape.out_at.row, block_row, kOwn, own_rows, shape.head_size);
  float own_delta[kRows], own_lse[kRows], grad_a[kRows][kColumns], grad_b[kRows][kColumns];
  clear(grad_a);
  clear(grad_b);
  if constexpr (!kKeys) {
    __syncthreads();
#pragma unroll
    for (int r = 0; r < kRows; r++) {
      const bool valid = first + r < own_rows;
      own_delta[r] = query_delta(own_b, warp * kRows + r, out + (first + r) * shape.out_at.row, valid, shape.head_size);
      own_lse[r] = valid ? lse[first + r] : INFINITY;
    }
  }
  for (int other = 0; other < other_rows; other += kOthers) {
    __syncthreads();
    fetch_rows(other_a, kKeys ? q : k, kKeys ? shape.q_at.row : shape.k_at.row, other, kOthers, other_rows, shape.head_size);
    fetch_rows(other_b, kKeys ? dout : v, kKeys ? shape.out_at.row : shape.v_at.row, other, kOthers, other_rows, shape.head_size);
    __syncthreads();
    const bool valid = other + lane < other_rows;
    float lane_delta = 0.0f, lane_lse = 0.0f;
    if constexpr (kKeys) {
#pragma unroll
      for (int r = 0; r < kOthers / kWarps; r++) {
        const int row = warp * (kOthers / kWarps) + r;
        const float delta = query_delta(other_b, row, out + (other + row) * shape.out_at.row, other + row < other_rows, shape.head_size);
        if (lane == 0) deltas[row] = delta;
      }
      __syncthreads();
      lane_delta = deltas[lane];
      lane_lse = valid ? lse[other + lane] : 0.0f;
    }
    if (first >= own_rows) continue;
    float p[kRows], ds[kRows];
    scores(p, own_a, other_a);
    scores(ds, own_b, other_b);
#pragma unroll
    for (int r = 0; r < kRows; r++) {
      p[r] = valid ? expf(fmaf(p[r], shape.scale, -(kKeys ? lane_lse : own_lse[r]))) : 0.0f;
      ds[r] = p[r] * (ds[r] - (kKeys ? lane_delta : own_delta[r]));
    }
    add_weighted(grad_a, ds, other_a);
    if constexpr (kKeys) add_weighted(grad_b, p, other_b);
  }
  float scale[kRows], one[kRows];
#pragma unroll
  for (int r = 0; r < kRows; r++) scale[r] = shape.scale, one[r] = 1.0f;
  write_rows(head_base<T>(kKeys ? args.dk : args.dq, kKeys ? shape.k_at : shape.q_at, image, head), kKeys ? shape.k_at.row : shape.q_at.row,
             first, grad_a, scale, own_rows, shape.head_size);
  if constexpr (kKeys) write_rows(head_base<T>(args.dv, shape.v_at, image, head), shape.v_at.row, first, grad_b, one, own_rows, shape.head_size);
}

dim3 grid_of(const Attention& args, std::int32_t rows) { return dim3(static_cast<unsigned>(args.images * args.heads), blocks_for(rows, kOwn)); }

}  // namespace

void launch_attention_plain(const Attention& args, rt::Stream stream) {
  const auto bytes = static_cast<std::size_t>((kOwn + 2 * kOthers) * row_pitch(args.head_size) * 4);
  with_element(args.precision, [&]<class T>(Element<T>) {
    launch("attention_forward_plain", attention_forward_plain<T>, grid_of(args, args.queries), dim3(kWarps * 32), bytes, stream, args);
  });
}

void launch_attention_backward_plain(const AttentionBackward& args, rt::Stream stream) {
  const auto bytes = static_cast<std::size_t>((2 * (kOwn + kOthers) * row_pitch(args.forward.head_size) + kOthers) * 4);
  with_element(args.forward.precision, [&]<class T>(Element<T>) {
    launch("attention_backward_keys_plain", attention_backward_plain<T, true>, grid_of(args.forward, args.forward.length), dim3(kWarps * 32),
           bytes, stream, args);
    launch("attention_backward_queries_plain", attention_backward_plain<T, false>, grid_of(args.forward, args.forward.queries), dim3(kWarps * 32),
           bytes, stream, args);
  });
}

}  // namespace signstep::kernels
