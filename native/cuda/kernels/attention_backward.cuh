// attention_backward() in 16-bit types. With P = exp(scale * q k^T - lse) recomputed and delta = sum(dout * out) of each query:
//   dv = P^T dout      dS = P * (dout v^T - delta)      dk = scale * dS^T q      dq = scale * dS k
// P and dS are rounded to the value type for the products that follow. Every sum has one owner and one order: no atomics.
#pragma once

#include "attention_rows.cuh"

namespace signstep::kernels {
namespace {

inline constexpr int kExchangePitch = kQueries + 8;  // of dS^T in shared memory: 80 bytes, conflict-free as kPitch is

template <int kHead>
inline constexpr int kKeysWarps = keys_warps(kHead);
template <int kHead>
inline constexpr int kQueryStageElements = 2 * kQueries * kPitch<kHead>;

// Sums of dout * out over rows first + lane / 4 and first + lane / 4 + 8.
template <int kHead, class T>
__device__ __forceinline__ void row_products(float& upper, float& lower, const HeadRows<const T>& dout, const HeadRows<const T>& out,
                                             int first, const HeadShape& shape) {
  upper = lower = 0.0f;
#pragma unroll 1
  for (int k = 0; k < kHead / 16; k++) {
    std::uint32_t a[4], b[4];
    load_fragment(a, dout, first, k * 16, shape);
    load_fragment(b, out, first, k * 16, shape);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const float2 x = unpack2<T>(a[i]), y = unpack2<T>(b[i]);
      float& sum = i % 2 == 0 ? upper : lower;
      sum = fmaf(x.y, y.y, fmaf(x.x, y.x, sum));
    }
  }
  upper = quad_sum(upper);
  lower = quad_sum(lower);
}

// A warp's 16 keys against 16 queries: P^T and dS^T, keys down, as left operands. `lse` (times log2(e)) and `delta`
// begin at the first query.
template <int kHead, class T>
__device__ __forceinline__ void probabilities(std::uint32_t (&p)[4], std::uint32_t (&ds)[4], Shared<T> keys, Shared<T> values,
                                              int first_key, Shared<T> queries, Shared<T> douts, int first_query, Shared<float> lse,
                                              Shared<float> delta, float scale, bool upper_valid, bool lower_valid) {
  float s[2][4], dp[2][4];
  clear(s);
  clear(dp);
#pragma unroll
  for (int k = 0; k < kHead / 16; k++) {
    std::uint32_t a[4], left[2], right[2];
    left_fragment(a, keys, kPitch<kHead>, first_key, k * 16);
    right_fragments(left, right, queries, kPitch<kHead>, first_query, k * 16);
    mma_m16n8k16<T>(s[0], a, left);
    mma_m16n8k16<T>(s[1], a, right);
    left_fragment(a, values, kPitch<kHead>, first_key, k * 16);
    right_fragments(left, right, douts, kPitch<kHead>, first_query, k * 16);
    mma_m16n8k16<T>(dp[0], a, left);
    mma_m16n8k16<T>(dp[1], a, right);
  }
  const int column = static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
  for (int j = 0; j < 2; j++) {
    const float2 l = shared_cast<float2>(lse + (j * 8 + column))[0], d = shared_cast<float2>(delta + (j * 8 + column))[0];
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const bool valid = e < 2 ? upper_valid : lower_valid;
      s[j][e] = valid ? fast_exp2(fmaf(s[j][e], scale, -(e % 2 == 0 ? l.x : l.y))) : 0.0f;
      dp[j][e] = s[j][e] * (dp[j][e] - (e % 2 == 0 ? d.x : d.y));
    }
  }
  as_left_fragment<T>(p, s[0], s[1]);
  as_left_fragment<T>(ds, dp[0], dp[1]);
}

// What the block has in shared memory, in this order; offsets in bytes, all multiples of 16.
template <int kHead>
struct KeysMemory {
  int keys, queries;  // rows, padded to slabs and stages
  __device__ __forceinline__ KeysMemory(int warps, int query_rows)
      : keys(warps * kSlab), queries((query_rows + kQueries - 1) / kQueries * kQueries) {}
  __device__ __forceinline__ int k() const { return 0; }
  __device__ __forceinline__ int v() const { return keys * kPitch<kHead> * 2; }
  __device__ __forceinline__ int stages() const { return 2 * v(); }
  __device__ __forceinline__ int lse() const { return stages() + kQueryStages * kQueryStageElements<kHead> * 2; }
  __device__ __forceinline__ int delta() const { return lse() + queries * 4; }
  __device__ __forceinline__ int exchange() const { return delta() + queries * 4; }
};

// dk and dv: a warp owns 16 keys, all queries pass by in stages of 32. kFused: the block owns all keys of the head and computes dq too:
// dS^T of a stage goes through one of two buffers in shared memory, and while the next stage is computed the warps share the product dS k
// between them.
template <class T, int kHead, bool kFused>
__global__ void __launch_bounds__(32 * (kFused ? kFusedSlabs : kKeysWarps<kHead>), 1)
    attention_backward_keys(const __grid_constant__ AttentionBackward args) {
  const Attention& forward = args.forward;
  const int image = static_cast<int>(blockIdx.x) / forward.heads, head = static_cast<int>(blockIdx.x) % forward.heads;
  if (forward.live != nullptr && image >= *forward.live) return;
  const HeadShape query_shape{forward.queries, forward.head_size}, key_shape{forward.length, forward.head_size};
  const HeadRows<const T> q(forward.q, forward.q_at, image, head), dout(args.dout, forward.out_at, image, head);

  const int warps = static_cast<int>(blockDim.x) / 32, warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const KeysMemory<kHead> at(warps, query_shape.rows);
  const Shared<std::uint8_t> memory = dynamic_shared();
  const Shared<T> keys = shared_cast<T>(memory + at.k()), values = shared_cast<T>(memory + at.v()),
                  stages = shared_cast<T>(memory + at.stages());
  const Shared<float> lse = shared_cast<float>(memory + at.lse()), delta = shared_cast<float>(memory + at.delta());
  const int block_key = static_cast<int>(blockIdx.y) * at.keys, first_key = block_key + warp * kSlab;
  const bool mine = first_key < key_shape.rows;
  const int rounds = at.queries / kQueries;

  const auto queries_of = [&](int round) { return stages + round % kQueryStages * kQueryStageElements<kHead>; };
  const auto fetch = [&](int round) {
    if (round < rounds) {
      fetch_rows<kHead>(queries_of(round), q, round * kQueries, kQueries, query_shape);
      fetch_rows<kHead>(queries_of(round) + kQueries * kPitch<kHead>, dout, round * kQueries, kQueries, query_shape);
    }
    cp_async_commit();
  };
  fetch_rows<kHead>(keys, HeadRows<const T>(forward.k, forward.k_at, image, head), block_key, at.keys, key_shape);
  fetch_rows<kHead>(values, HeadRows<const T>(forward.v, forward.v_at, image, head), block_key, at.keys, key_shape);
#pragma unroll 1
  for (int round = 0; round < kQueryStages - 1; round++) fetch(round);

  // Queries beyond the sequence get an infinite lse: their P and dS are then 0.
  const float* const lse_rows = forward.lse + static_cast<std::int64_t>(blockIdx.x) * query_shape.rows;
  const HeadRows<const T> out(static_cast<const void*>(forward.out), forward.out_at, image, head);
#pragma unroll 1
  for (int slab = warp; slab * kSlab < at.queries; slab += warps) {
    float upper, lower;
    row_products<kHead>(upper, lower, dout, out, slab * kSlab, query_shape);
    const int row = slab * kSlab + lane / 4;
    if (lane % 4 == 0) {
      delta[row] = upper;
      delta[row + 8] = lower;
      lse[row] = row < query_shape.rows ? lse_rows[row] * kLog2E : INFINITY;
      lse[row + 8] = row + 8 < query_shape.rows ? lse_rows[row + 8] * kLog2E : INFINITY;
    }
  }

  float dk[kHead / 8][4], dv[kHead / 8][4];
  clear(dk);
  clear(dv);
  const float scale = forward.scale * kLog2E;
  const bool upper_valid = first_key + lane / 4 < key_shape.rows, lower_valid = first_key + lane / 4 + 8 < key_shape.rows;

  const auto exchange_of = [&](int round) { return shared_cast<T>(memory + at.exchange()) + round % 2 * (at.keys * kExchangePitch); };
  // dq of a stage's queries: the result in pieces of 16 by 16, dealt out to the warps.
  const auto write_dq = [&](int round) {
    const HeadRows<T> dq(args.dq, forward.q_at, image, head);
    const Shared<T> exchange = exchange_of(round);
    constexpr int kColumns = kHead / 16, kPieces = kQueries / 16 * kColumns;
#pragma unroll 1
    for (int piece = warp; piece < kPieces; piece += warps) {
      const int first = piece / kColumns * 16, column = piece % kColumns * 16;
      float sum[2][4];
      clear(sum);
#pragma unroll 2
      for (int key = 0; key < at.keys; key += 16) {
        std::uint32_t a[4], left[2], right[2];
        left_fragment_of_columns(a, exchange, kExchangePitch, first, key);
        right_fragments_of_rows(left, right, keys, kPitch<kHead>, key, column);
        mma_m16n8k16<T>(sum[0], a, left);
        mma_m16n8k16<T>(sum[1], a, right);
      }
      store_fragment(dq, round * kQueries + first, column, sum[0], sum[1], forward.scale, forward.scale, query_shape);
    }
  };

#pragma unroll 1
  for (int round = 0; round < rounds; round++) {
    cp_async_wait<kQueryStages - 2>();
    __syncthreads();  // the stage is there for all, the one before is read, and so is its dS^T written
    fetch(round + kQueryStages - 1);
    if constexpr (kFused) {
      if (round > 0) write_dq(round - 1);
    }
    if (!mine) continue;
    const Shared<T> queries = queries_of(round), douts = queries + kQueries * kPitch<kHead>;
#pragma unroll 1
    for (int first = 0; first < kQueries; first += 16) {
      const int query = round * kQueries + first;
      if (query >= query_shape.rows) break;  // its part of dS^T is not written and reaches rows of dq alone that are not stored
      std::uint32_t p[4], ds[4];
      probabilities<kHead>(p, ds, keys, values, warp * kSlab, queries, douts, first, lse + query, delta + query, scale, upper_valid,
                           lower_valid);
      if constexpr (kFused) {
        const Shared<std::uint32_t> words =
            shared_cast<std::uint32_t>(exchange_of(round) + ((warp * kSlab + lane / 4) * kExchangePitch + first + lane % 4 * 2));
        words[0] = ds[0];
        words[4] = ds[2];
        words[4 * kExchangePitch] = ds[1];
        words[4 * kExchangePitch + 4] = ds[3];
      }
#pragma unroll
      for (int d = 0; d < kHead / 16; d++) {
        std::uint32_t left[2], right[2];
        right_fragments_of_rows(left, right, douts, kPitch<kHead>, first, d * 16);
        mma_m16n8k16<T>(dv[2 * d], p, left);
        mma_m16n8k16<T>(dv[2 * d + 1], p, right);
        right_fragments_of_rows(left, right, queries, kPitch<kHead>, first, d * 16);
        mma_m16n8k16<T>(dk[2 * d], ds, left);
        mma_m16n8k16<T>(dk[2 * d + 1], ds, right);
      }
    }
  }
  if constexpr (kFused) {
    __syncthreads();
    write_dq(rounds - 1);
  }
  if (!mine) return;
  const HeadRows<T> dk_rows(args.dk, forward.k_at, image, head), dv_rows(args.dv, forward.v_at, image, head);
#pragma unroll
  for (int d = 0; d < kHead / 16; d++) {
    store_fragment(dk_rows, first_key, d * 16, dk[2 * d], dk[2 * d + 1], forward.scale, forward.scale, key_shape);
    store_fragment(dv_rows, first_key, d * 16, dv[2 * d], dv[2 * d + 1], 1.0f, 1.0f, key_shape);
  }
}

// dq alone: a warp owns 16 queries, keys and values pass by in chunks as in the forward kernel.
template <class T, int kHead>
__global__ void __launch_bounds__(128, kHead <= 80 ? 2 : 1) attention_backward_queries(const __grid_constant__ AttentionBackward args) {
  constexpr int kKeys = kChunkKeys<kHead>;
  const Attention& forward = args.forward;
  const int image = static_cast<int>(blockIdx.x) / forward.heads, head = static_cast<int>(blockIdx.x) % forward.heads;
  if (forward.live != nullptr && image >= *forward.live) return;
  const HeadShape query_shape{forward.queries, forward.head_size}, key_shape{forward.length, forward.head_size};
  const HeadRows<const T> q(forward.q, forward.q_at, image, head), k(forward.k, forward.k_at, image, head),
      v(forward.v, forward.v_at, image, head);
  const HeadRows<const T> dout(args.dout, forward.out_at, image, head);
  const int warps = static_cast<int>(blockDim.x) / 32, warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int first = (static_cast<int>(blockIdx.y) * warps + warp) * kSlab;
  const bool mine = first < query_shape.rows;
  const int chunks = (key_shape.rows + kKeys - 1) / kKeys;
  const Shared<T> memory = shared_cast<T>(dynamic_shared());
  const auto chunk_at = [&](int chunk) { return memory + chunk % kStages * kChunkElements<kHead>; };
  const auto fetch = [&](int chunk) {
    if (chunk < chunks) {
      fetch_rows<kHead>(chunk_at(chunk), k, chunk * kKeys, kKeys, key_shape);
      fetch_rows<kHead>(chunk_at(chunk) + kKeys * kPitch<kHead>, v, chunk * kKeys, kKeys, key_shape);
    }
    cp_async_commit();
  };
#pragma unroll 1
  for (int chunk = 0; chunk < kStages - 1; chunk++) fetch(chunk);

  std::uint32_t q_rows[kHead / 16][4], dout_rows[kHead / 16][4];
#pragma unroll
  for (int i = 0; i < kHead / 16; i++) {
    load_fragment(q_rows[i], q, first, i * 16, query_shape);
    load_fragment(dout_rows[i], dout, first, i * 16, query_shape);
  }
  float upper_delta, lower_delta;
  row_products<kHead>(upper_delta, lower_delta, dout, HeadRows<const T>(static_cast<const void*>(forward.out), forward.out_at, image, head),
                      first, query_shape);
  const float* const lse = forward.lse + static_cast<std::int64_t>(blockIdx.x) * query_shape.rows;
  const int row = first + lane / 4;
  const float upper_lse = row < query_shape.rows ? lse[row] * kLog2E : INFINITY,
              lower_lse = row + 8 < query_shape.rows ? lse[row + 8] * kLog2E : INFINITY;
  const float scale = forward.scale * kLog2E;
  float dq[kHead / 8][4];
  clear(dq);

#pragma unroll 1
  for (int chunk = 0; chunk < chunks; chunk++) {
    cp_async_wait<kStages - 2>();
    __syncthreads();
    fetch(chunk + kStages - 1);
    if (!mine) continue;
    const Shared<T> keys = chunk_at(chunk), values = keys + kKeys * kPitch<kHead>;
    const int left_over = key_shape.rows - chunk * kKeys, count = left_over < kKeys ? left_over : kKeys;
#pragma unroll 1
    for (int key = 0; key < count; key += 16) {
      float s[2][4], dp[2][4];
      clear(s);
      clear(dp);
#pragma unroll
      for (int i = 0; i < kHead / 16; i++) {
        std::uint32_t left[2], right[2];
        right_fragments(left, right, keys, kPitch<kHead>, key, i * 16);
        mma_m16n8k16<T>(s[0], q_rows[i], left);
        mma_m16n8k16<T>(s[1], q_rows[i], right);
        right_fragments(left, right, values, kPitch<kHead>, key, i * 16);
        mma_m16n8k16<T>(dp[0], dout_rows[i], left);
        mma_m16n8k16<T>(dp[1], dout_rows[i], right);
      }
      const int column = key + lane % 4 * 2;
#pragma unroll
      for (int j = 0; j < 2; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
          const bool valid = column + j * 8 + e % 2 < count;
          const float p = valid ? fast_exp2(fmaf(s[j][e], scale, -(e < 2 ? upper_lse : lower_lse))) : 0.0f;
          s[j][e] = p * (dp[j][e] - (e < 2 ? upper_delta : lower_delta));
        }
      std::uint32_t ds[4];
      as_left_fragment<T>(ds, s[0], s[1]);
#pragma unroll
      for (int d = 0; d < kHead / 16; d++) {
        std::uint32_t left[2], right[2];
        right_fragments_of_rows(left, right, keys, kPitch<kHead>, key, d * 16);
        mma_m16n8k16<T>(dq[2 * d], ds, left);
        mma_m16n8k16<T>(dq[2 * d + 1], ds, right);
      }
    }
  }
  if (!mine) return;
  const HeadRows<T> to(args.dq, forward.q_at, image, head);
#pragma unroll
  for (int d = 0; d < kHead / 16; d++) store_fragment(to, first, d * 16, dq[2 * d], dq[2 * d + 1], forward.scale, forward.scale, query_shape);
}

template <class T, int kHead>
void launch_attention_backward(const AttentionBackward& args, const AttentionBackwardPlan& plan, rt::Stream stream) {
  const auto heads = static_cast<unsigned>(args.forward.images * args.forward.heads);
  const auto run = [&](const char* name, void (*kernel)(AttentionBackward), const AttentionGrid& grid) {
    launch(name, kernel, dim3(heads, static_cast<unsigned>(grid.parts)), dim3(static_cast<unsigned>(grid.warps * 32)),
           static_cast<std::size_t>(grid.shared_bytes), stream, args);
  };
  if constexpr (kHead <= kFusedHead) {
    if (plan.form == BackwardForm::fused) return run("attention_backward_fused", attention_backward_keys<T, kHead, true>, plan.keys);
  }
  run("attention_backward_keys", attention_backward_keys<T, kHead, false>, plan.keys);
  run("attention_backward_queries", attention_backward_queries<T, kHead>, plan.queries);
}

template <class T>
void launch_attention_backward16(const AttentionBackward& args, const AttentionBackwardPlan& plan, rt::Stream stream) {
  switch (padded_head(args.forward.head_size)) {
    case 32: return launch_attention_backward<T, 32>(args, plan, stream);
    case 64: return launch_attention_backward<T, 64>(args, plan, stream);
    case 80: return launch_attention_backward<T, 80>(args, plan, stream);
    case 96: return launch_attention_backward<T, 96>(args, plan, stream);
    default: return launch_attention_backward<T, 128>(args, plan, stream);
  }
}

}  // namespace
}  // namespace signstep::kernels
