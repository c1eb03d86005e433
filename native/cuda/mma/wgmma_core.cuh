// The matrix core of sm_90a: tiles of a . b^T of 128 rows by kColumns by wgmma. One warpgroup only fetches: one thread of it keeps a ring of
// stages full by TMA. Two warpgroups multiply, straight from shared memory. Stages are handed over by two mbarriers each: `full` counts the
// bytes that arrived, `empty` the warps that have read them. The ring runs on across tiles, so that the next tile's first stages arrive
// while this one's results are written.
//
// Two ways to share the work. Together: each warpgroup multiplies 64 rows of every tile; a tile is done soonest, but the tensor cores
// rest while results are written. In turns: each takes every second tile of the block, whole, and one writes while the other multiplies.
#pragma once

#include <type_traits>

#include "../ptx/device.h"

namespace signstep::wgmma {
namespace {

using namespace signstep::device;

constexpr int kRows = 128, kRowBytes = 128;  // of a row, a stage holds the 128 bytes that the swizzle spans
constexpr int kConsumerWarps = 8, kThreads = 384;
constexpr int kProducerRegisters = 24, kConsumerRegisters = 240;  // (24 + 2 * 240) * 128 <= 65,536

template <class T_, int kColumns_, int kStages_, bool kInTurns_>
struct Tile {
  using T = T_;
  static constexpr int kColumns = kColumns_, kStages = kStages_;
  static constexpr bool kInTurns = kInTurns_;
  static constexpr int kBlocks = kInTurns ? 2 : 1;  // of 64 rows, a warpgroup
  static constexpr int kDepth = kRowBytes / static_cast<int>(sizeof(T));  // of K, a stage
  static constexpr int kStageBytes = (kRows + kColumns) * kRowBytes;
  static constexpr int kRingBytes = kStages * kStageBytes;
  static constexpr int kBarrierBytes = 2 * kStages * 8;
};

#if SIGNSTEP_HAS_SM90

template <class Tile>
struct Ring {
  Shared<std::uint8_t> stages;
  Shared<Mbar> full, empty;
  int slot = 0;
  unsigned parity = 0;  // of the round this slot is in

  __device__ __forceinline__ Ring(Shared<std::uint8_t> stages_, Shared<Mbar> barriers)
      : stages(stages_), full(barriers), empty(barriers + Tile::kStages) {}

  // By one thread, before a barrier of the whole block.
  __device__ __forceinline__ void init() {
    for (int s = 0; s < Tile::kStages; ++s) {
      mbar_init(full + s, 1);
      mbar_init(empty + s, Tile::kInTurns ? kConsumerWarps / 2 : kConsumerWarps);
    }
    mbar_init_fence();
  }
  __device__ __forceinline__ Shared<typename Tile::T> a() const {
    return shared_cast<typename Tile::T>(stages + slot * Tile::kStageBytes);
  }
  __device__ __forceinline__ Shared<typename Tile::T> b() const { return a() + kRows * Tile::kDepth; }
  __device__ __forceinline__ void advance() {
    if (++slot == Tile::kStages) {
      slot = 0;
      parity ^= 1;
    }
  }
  // As if advanced so many times: past a tile that is the other warpgroup's.
  __device__ __forceinline__ void skip(int rounds) {
    const int ahead = slot + rounds;
    parity ^= static_cast<unsigned>(ahead / Tile::kStages) & 1;
    slot = ahead % Tile::kStages;
  }
};

// One thread: all of K of one tile.
template <class Tile>
__device__ __forceinline__ void produce(Ring<Tile>& ring, const TensorMap& a, const TensorMap& b, int row, int column, int rounds) {
#pragma unroll 1
  for (int round = 0; round < rounds; ++round) {
    mbar_wait(ring.empty + ring.slot, ring.parity ^ 1);  // a slot never used yet counts as read
    mbar_expect(ring.full + ring.slot, Tile::kStageBytes);
    tma_load_2d(ring.a(), a, round * Tile::kDepth, row, ring.full + ring.slot);
    tma_load_2d(ring.b(), b, round * Tile::kDepth, column, ring.full + ring.slot);
    ring.advance();
  }
}

template <class Tile>
using Accumulators = float[Tile::kBlocks][Tile::kColumns / 2];

// A warpgroup: acc = its rows of a tile, from `row` of it on. One group of wgmma stays in flight: a stage is given back once the next one's
// work has been handed to the tensor cores. handed_over() is called when all of the tile's has.
template <class Tile, class HandedOver>
__device__ __forceinline__ void consume(Ring<Tile>& ring, Accumulators<Tile>& acc, int row, int rounds, HandedOver&& handed_over) {
  using T = typename Tile::T;
  constexpr int kDepth = Tile::kDepth;
  const bool speaker = threadIdx.x % 32 == 0;
  int previous = -1;
#pragma unroll
  for (int m = 0; m < Tile::kBlocks; ++m)
#pragma unroll
    for (int i = 0; i < Tile::kColumns / 2; ++i) acc[m][i] = 0.0f;
#pragma unroll 1
  for (int round = 0; round < rounds; ++round) {
    mbar_wait(ring.full + ring.slot, ring.parity);
    Shared<T> a = ring.a() + row * kDepth;
    Shared<T> b = ring.b();
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < kDepth; k += 16)
#pragma unroll
      for (int m = 0; m < Tile::kBlocks; ++m)
        wgmma_m64k16<Tile::kColumns, T>(acc[m], wgmma_descriptor(a + (m * 64 * kDepth + k)), wgmma_descriptor(b + k));
    wgmma_commit();
    wgmma_wait<1>();
    if (previous >= 0 && speaker) mbar_arrive(ring.empty + previous);
    previous = ring.slot;
    ring.advance();
  }
  handed_over();
  wgmma_wait<0>();
  if (speaker) mbar_arrive(ring.empty + previous);
  __syncwarp();
}

// The same for e4m3, together: the 128 columns of K of a stage are summed from zero by the tensor cores and added to acc in float32, since
// the sum of the tensor cores has but 13 bits of mantissa. While one warpgroup adds, the other multiplies.
template <class Tile>
__device__ __forceinline__ void consume_in_parts(Ring<Tile>& ring, Accumulators<Tile>& acc, int row, int rounds) {
  static_assert(std::is_same_v<typename Tile::T, e4m3> && !Tile::kInTurns);
  const bool speaker = threadIdx.x % 32 == 0;
  float part[Tile::kColumns / 2];
#pragma unroll
  for (int i = 0; i < Tile::kColumns / 2; ++i) acc[0][i] = part[i] = 0.0f;
#pragma unroll 1
  for (int round = 0; round < rounds; ++round) {
    mbar_wait(ring.full + ring.slot, ring.parity);
    Shared<e4m3> a = ring.a() + row * Tile::kDepth;
    Shared<e4m3> b = ring.b();
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < Tile::kDepth; k += 32)
      wgmma_m64k32_e4m3<Tile::kColumns>(part, wgmma_descriptor(a + k), wgmma_descriptor(b + k), k != 0);
    wgmma_commit();
    wgmma_wait<0>();
    if (speaker) mbar_arrive(ring.empty + ring.slot);
    ring.advance();
#pragma unroll
    for (int i = 0; i < Tile::kColumns / 2; ++i) acc[0][i] += part[i];
  }
  __syncwarp();
}

#endif  // SIGNSTEP_HAS_SM90

}  // namespace
}  // namespace signstep::wgmma
