// The matrix core of sm_90a: tiles of a . b^T of 128 rows by kColumns by wgmma. One warpgroup only fetches: one thread of it keeps a ring of
// stages full by TMA. Two warpgroups multiply 64 rows each, straight from shared memory. Stages are handed over by two mbarriers each:
// `full` counts the bytes that arrived, `empty` the eight warps that have read them. The ring runs on across tiles, so that the next
// tile's first stages arrive while this one's results are written.
#pragma once

#include "../ptx/device.h"

namespace signstep::wgmma {
namespace {

using namespace signstep::device;

constexpr int kRows = 128, kDepth = 64;  // 64 columns of K are the 128 bytes that the swizzle spans
constexpr int kConsumerWarps = 8, kThreads = 384;
constexpr int kProducerRegisters = 40, kConsumerRegisters = 232;  // (40 + 2 * 232) * 128 <= 65,536

template <class T_, int kColumns_, int kStages_>
struct Tile {
  using T = T_;
  static constexpr int kColumns = kColumns_, kStages = kStages_;
  static constexpr int kStageBytes = (kRows + kColumns) * kDepth * 2;
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
      mbar_init(empty + s, kConsumerWarps);
    }
    mbar_init_fence();
  }
  __device__ __forceinline__ Shared<typename Tile::T> a() const {
    return shared_cast<typename Tile::T>(stages + slot * Tile::kStageBytes);
  }
  __device__ __forceinline__ Shared<typename Tile::T> b() const { return a() + kRows * kDepth; }
  __device__ __forceinline__ void advance() {
    if (++slot == Tile::kStages) {
      slot = 0;
      parity ^= 1;
    }
  }
};

// One thread: all of K of one tile.
template <class Tile>
__device__ __forceinline__ void produce(Ring<Tile>& ring, const TensorMap& a, const TensorMap& b, int row, int column, int rounds) {
#pragma unroll 1
  for (int round = 0; round < rounds; ++round) {
    mbar_wait(ring.empty + ring.slot, ring.parity ^ 1);  // a slot never used yet counts as read
    mbar_expect(ring.full + ring.slot, Tile::kStageBytes);
    tma_load_2d(ring.a(), a, round * kDepth, row, ring.full + ring.slot);
    tma_load_2d(ring.b(), b, round * kDepth, column, ring.full + ring.slot);
    ring.advance();
  }
}

// A warpgroup: acc = its 64 rows of the tile. One group of wgmma stays in flight: a stage is given back once the next one's work has been
// handed to the tensor cores.
template <class Tile>
__device__ __forceinline__ void consume(Ring<Tile>& ring, float (&acc)[Tile::kColumns / 2], int warpgroup, int rounds) {
  using T = typename Tile::T;
  const bool speaker = threadIdx.x % 32 == 0;
  int previous = -1;
#pragma unroll
  for (int i = 0; i < Tile::kColumns / 2; ++i) acc[i] = 0.0f;
#pragma unroll 1
  for (int round = 0; round < rounds; ++round) {
    mbar_wait(ring.full + ring.slot, ring.parity);
    Shared<T> a = ring.a() + warpgroup * 64 * kDepth;
    Shared<T> b = ring.b();
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < kDepth; k += 16) wgmma_m64k16<Tile::kColumns, T>(acc, wgmma_descriptor(a + k), wgmma_descriptor(b + k));
    wgmma_commit();
    wgmma_wait<1>();
    if (previous >= 0 && speaker) mbar_arrive(ring.empty + previous);
    previous = ring.slot;
    ring.advance();
  }
  wgmma_wait<0>();
  if (speaker) mbar_arrive(ring.empty + previous);
}

#endif  // SIGNSTEP_HAS_SM90

}  // namespace
}  // namespace signstep::wgmma
