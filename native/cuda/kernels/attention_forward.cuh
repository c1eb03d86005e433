// attention() in 16-bit types: softmax over chunks of keys that pass through shared memory. A warp computes 16 query rows; scores,
// probabilities and output stay in its registers. Where shared memory has a slot for every chunk, they stay there for all rows of the head.
#pragma once

#include "attention_rows.cuh"

namespace signstep::kernels {
namespace {

// The running maximum may lag this far behind, in powers of two: probabilities then reach 256, which every type holds as precisely as 1.
// The output is rescaled only when a maximum rises by more, which after the first chunk is rare.
inline constexpr float kLag = 8.0f;

// What a warp holds of its 16 rows: row lane / 4 is `upper`, row lane / 4 + 8 `lower`.
template <int kHead>
struct ForwardRows {
  std::uint32_t q[kHead / 16][4];
  float out[kHead / 8][4];
  float upper_maximum, lower_maximum;  // of scale * log2(e) * scores, or up to kLag below it
  float upper_sum, lower_sum;          // of this lane's columns

  template <class T>
  __device__ __forceinline__ void start(const HeadRows<const T>& queries, int first, bool negative, const HeadShape& shape) {
#pragma unroll
    for (int k = 0; k < kHead / 16; k++) {
      load_fragment(q[k], queries, first, k * 16, shape);
#pragma unroll
      for (int i = 0; i < 4; i++)
        q[k][i] ^= negative ? 0x80008000u : 0u;  // exact, and the largest score is then the largest of the products
    }
    clear(out);
    upper_maximum = lower_maximum = -INFINITY;
    upper_sum = lower_sum = 0.0f;
  }

  // One chunk of `keys` keys (of kKeys).
  template <int kKeys, class T>
  __device__ __forceinline__ void attend(Shared<T> k_rows, Shared<T> v_rows, int keys, float scale) {
    constexpr int kPairs = kKeys / 16;
    float s[kKeys / 8][4];
    clear(s);
#pragma unroll
    for (int p = 0; p < kPairs; p++) {
      if (p * 16 >= keys) break;
#pragma unroll
      for (int k = 0; k < kHead / 16; k++) {
        std::uint32_t left[2], right[2];
        right_fragments(left, right, k_rows, kPitch<kHead>, p * 16, k * 16);
        mma_m16n8k16<T>(s[2 * p], q[k], left);
        mma_m16n8k16<T>(s[2 * p + 1], q[k], right);
      }
    }
    if (keys < kKeys) {
      const int column = static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
      for (int j = 0; j < kKeys / 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++)
          if (j * 8 + column + e % 2 >= keys) s[j][e] = -INFINITY;
    }

    float upper = s[0][0], lower = s[0][2];
#pragma unroll
    for (int j = 0; j < kKeys / 8; j++) {
      upper = fmaxf(upper, fmaxf(s[j][0], s[j][1]));
      lower = fmaxf(lower, fmaxf(s[j][2], s[j][3]));
    }
    upper = quad_maximum(upper) * scale;
    lower = quad_maximum(lower) * scale;
    if (__any_sync(0xFFFFFFFFu, upper > upper_maximum + kLag || lower > lower_maximum + kLag)) {
      const float new_upper = fmaxf(upper, upper_maximum), new_lower = fmaxf(lower, lower_maximum);
      const float shrink_upper = fast_exp2(upper_maximum - new_upper), shrink_lower = fast_exp2(lower_maximum - new_lower);
      upper_maximum = new_upper;
      lower_maximum = new_lower;
      upper_sum *= shrink_upper;
      lower_sum *= shrink_lower;
#pragma unroll
      for (int j = 0; j < kHead / 8; j++) {
        out[j][0] *= shrink_upper, out[j][1] *= shrink_upper;
        out[j][2] *= shrink_lower, out[j][3] *= shrink_lower;
      }
    }

#pragma unroll
    for (int p = 0; p < kPairs; p++) {
      if (p * 16 >= keys) break;
#pragma unroll
      for (int j = 2 * p; j < 2 * p + 2; j++) {
        s[j][0] = fast_exp2(fmaf(s[j][0], scale, -upper_maximum));
        s[j][1] = fast_exp2(fmaf(s[j][1], scale, -upper_maximum));
        s[j][2] = fast_exp2(fmaf(s[j][2], scale, -lower_maximum));
        s[j][3] = fast_exp2(fmaf(s[j][3], scale, -lower_maximum));
        upper_sum += s[j][0] + s[j][1];
        lower_sum += s[j][2] + s[j][3];
      }
      std::uint32_t a[4];
      as_left_fragment<T>(a, s[2 * p], s[2 * p + 1]);
#pragma unroll
      for (int d = 0; d < kHead / 16; d++) {
        std::uint32_t left[2], right[2];
        right_fragments_of_rows(left, right, v_rows, kPitch<kHead>, p * 16, d * 16);
        mma_m16n8k16<T>(out[2 * d], a, left);
        mma_m16n8k16<T>(out[2 * d + 1], a, right);
      }
    }
  }

  template <class T>
  __device__ __forceinline__ void finish(const HeadRows<T>& to, float* lse, int first, const HeadShape& shape) {
    upper_sum = quad_sum(upper_sum);
    lower_sum = quad_sum(lower_sum);
    const float upper = 1.0f / upper_sum, lower = 1.0f / lower_sum;
#pragma unroll
    for (int d = 0; d < kHead / 16; d++) store_fragment(to, first, d * 16, out[2 * d], out[2 * d + 1], upper, lower, shape);
    const int lane = static_cast<int>(threadIdx.x) % 32, row = first + lane / 4;
    if (lane % 4 != 0 || lse == nullptr) return;
    if (row < shape.rows) lse[row] = (upper_maximum + log2f(upper_sum)) * kLn2;
    if (row + 8 < shape.rows) lse[row + 8] = (lower_maximum + log2f(lower_sum)) * kLn2;
  }
};

// Up to 8 warps. Head sizes up to 64 leave registers for a second block, which computes while the first loads.
template <class T, int kHead>
__global__ void __launch_bounds__(256, kHead <= 64 ? 2 : 1) attention_forward(const __grid_constant__ Attention args, const int slots) {
  constexpr int kKeys = kChunkKeys<kHead>;
  const int image = static_cast<int>(blockIdx.x) / args.heads, head = static_cast<int>(blockIdx.x) % args.heads;
  if (args.live != nullptr && image >= *args.live) return;
  const HeadShape queries{args.queries, args.head_size}, keys{args.length, args.head_size};
  const HeadRows<const T> q(args.q, args.q_at, image, head), k(args.k, args.k_at, image, head), v(args.v, args.v_at, image, head);
  const HeadRows<T> out(args.out, args.out_at, image, head);
  float* const lse = args.lse == nullptr ? nullptr : args.lse + static_cast<std::int64_t>(blockIdx.x) * args.queries;
  const Shared<T> memory = shared_cast<T>(dynamic_shared());

  const int warps = static_cast<int>(blockDim.x) / 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int slabs = (args.queries + kSlab - 1) / kSlab, step = static_cast<int>(gridDim.y) * warps;
  const int chunks = (args.length + kKeys - 1) / kKeys;
  const float scale = fabsf(args.scale) * kLog2E;
  const auto chunk_at = [&](int chunk) { return memory + chunk % slots * kChunkElements<kHead>; };
  const auto fetch = [&](int chunk) {
    if (chunk < chunks) {
      fetch_rows<kHead>(chunk_at(chunk), k, chunk * kKeys, kKeys, keys);
      fetch_rows<kHead>(chunk_at(chunk) + kKeys * kPitch<kHead>, v, chunk * kKeys, kKeys, keys);
    }
    cp_async_commit();  // an empty group where there was nothing: the number under way stays the same
  };
#pragma unroll 1
  for (int chunk = 0; chunk < kStages - 1; chunk++) fetch(chunk);

  // More than one round only where all chunks stay in shared memory. In the first, warps without a slab load and wait with the others.
  bool loading = true;
#pragma unroll 1
  for (int slab = static_cast<int>(blockIdx.y) * warps + warp; loading || slab < slabs; slab += step) {
    const bool mine = slab < slabs;
    ForwardRows<kHead> rows;
    rows.start(q, slab * kSlab, args.scale < 0.0f, queries);
#pragma unroll 1
    for (int chunk = 0; chunk < chunks; chunk++) {
      if (loading) {
        cp_async_wait<kStages - 2>();
        __syncthreads();  // the chunk is there for all, and all have read the one that the next takes the place of
        fetch(chunk + kStages - 1);
      }
      const int left = args.length - chunk * kKeys;
      if (mine) rows.template attend<kKeys>(chunk_at(chunk), chunk_at(chunk) + kKeys * kPitch<kHead>, left < kKeys ? left : kKeys, scale);
    }
    loading = false;
    if (mine) rows.finish(out, lse, slab * kSlab, queries);
  }
}

template <class T, int kHead>
void launch_attention_forward(const Attention& args, const AttentionGrid& grid, rt::Stream stream) {
  launch("attention_forward", attention_forward<T, kHead>,
         dim3(static_cast<unsigned>(args.images * args.heads), static_cast<unsigned>(grid.parts)),
         dim3(static_cast<unsigned>(grid.warps * 32)), static_cast<std::size_t>(grid.shared_bytes), stream, args, grid.slots);
}

template <class T>
void launch_attention16(const Attention& args, const AttentionGrid& grid, rt::Stream stream) {
  switch (padded_head(args.head_size)) {
    case 32: return launch_attention_forward<T, 32>(args, grid, stream);
    case 64: return launch_attention_forward<T, 64>(args, grid, stream);
    case 80: return launch_attention_forward<T, 80>(args, grid, stream);
    case 96: return launch_attention_forward<T, 96>(args, grid, stream);
    default: return launch_attention_forward<T, 128>(args, grid, stream);
  }
}

}  // namespace
}  // namespace signstep::kernels
