// gemm() on the wgmma core: persistent blocks, one a multiprocessor, that walk over the tiles along the columns first.
#pragma once

#include "../mma/wgmma_core.cuh"
#include "gemm_epilogue.cuh"
#include "gemm_launch.h"

namespace signstep::kernels {
namespace {

using namespace signstep::device;

template <class Tile, bool kRich>
using WgmmaEpilogue = EpilogueTraits<true, Tile::kColumns != 192 && !kRich, kRich>;
template <class Tile>
constexpr int kSharedBytes = Tile::kRingBytes + wgmma::kConsumerWarps * kEpilogueBytes<ValueOf<typename Tile::T>> + Tile::kBarrierBytes;

template <class Tile, bool kRich>
__global__ void __launch_bounds__(wgmma::kThreads, 1)
    gemm_wgmma(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, const __grid_constant__ GemmArgs args) {
#if SIGNSTEP_HAS_SM90
  static_assert(kSharedBytes<Tile> <= 227 * 1024);
  using T = ValueOf<typename Tile::T>;
  constexpr bool kQuantised = std::is_same_v<typename Tile::T, e4m3>;
  using Traits = std::conditional_t<kQuantised, QuantisedEpilogue, WgmmaEpilogue<Tile, kRich>>;
  Shared<std::uint8_t> memory = dynamic_shared();
  Shared<std::uint8_t> results = memory + Tile::kRingBytes;
  wgmma::Ring<Tile> ring(memory, shared_cast<Mbar>(results + wgmma::kConsumerWarps * kEpilogueBytes<T>));
  const int thread = static_cast<int>(threadIdx.x), warp = __shfl_sync(~0u, thread / 32, 0);  // known to be the same in all lanes
  const int rows = rows_alive(args);
  const int tiles = (rows + wgmma::kRows - 1) / wgmma::kRows * args.column_tiles;
  const int rounds = (args.k + Tile::kDepth - 1) / Tile::kDepth;
  if (thread == 0) ring.init();
  __syncthreads();

  if (warp >= wgmma::kConsumerWarps) {
    setmaxnreg_dec<wgmma::kProducerRegisters>();
    if (warp > wgmma::kConsumerWarps || thread % 32 != 0) return;
    for (int tile = static_cast<int>(blockIdx.x); tile < tiles; tile += static_cast<int>(gridDim.x))
      wgmma::produce(ring, a, b, tile / args.column_tiles * wgmma::kRows, tile % args.column_tiles * Tile::kColumns, rounds);
    return;
  }

  setmaxnreg_inc<wgmma::kConsumerRegisters>();
  // In turns: the barriers at which a warpgroup waits until the other has handed over its tile. That keeps the tensor cores on one tile at a
  // time, and is needed: a warpgroup may wait for a round of a slot only when the round before has come, since mbarriers tell but odd from
  // even.
  constexpr int kTurn = 1;
  const int warpgroup = warp / 4, step = static_cast<int>(gridDim.x);
  int first = static_cast<int>(blockIdx.x);
  if (Tile::kInTurns && warpgroup == 1) {
    first += step;
    ring.skip(rounds);
  }
  // Rows of a tile: 16w … of warp w; in turns 16 (w mod 4) … and 64 further on.
  constexpr int kAcross = Tile::kColumns / kSlabColumns, kSlabs = Tile::kBlocks * kAcross;
  Shared<std::uint8_t> own = results + warp * kEpilogueBytes<T>;
  const ExtraRuns<T, Traits> extra(own + kStageBytes);
  const int first_row = (Tile::kInTurns ? warp % 4 : warp) * kSlabRows;
#pragma unroll 1
  for (int tile = first; tile < tiles; tile += Tile::kInTurns ? 2 * step : step) {
    const WarpTile at{tile / args.column_tiles * wgmma::kRows + first_row, tile % args.column_tiles * Tile::kColumns, 64, kAcross};
    extra.fetch(args.epilogue, rows, at, 0, kSlabs);  // arrives during the product
    WarpRows<Tile::kBlocks> warp_rows;
    if constexpr (kRich) warp_rows.prepare(args.epilogue, rows, at);
    wgmma::Accumulators<Tile> acc;
    if (Tile::kInTurns && tile != static_cast<int>(blockIdx.x)) barrier_sync(kTurn + warpgroup, 256);
    if constexpr (kQuantised)
      wgmma::consume_in_parts(ring, acc, warpgroup * 64, rounds);
    else
      wgmma::consume(ring, acc, Tile::kInTurns ? 0 : warpgroup * 64, rounds, [&] {
        if (Tile::kInTurns && tile + step < tiles) barrier_arrive(kTurn + (warpgroup ^ 1), 256);
      });
    if (Tile::kInTurns) ring.skip(rounds);
    write_tile<T, kSlabs, Traits>(args.epilogue, shared_cast<float>(own), rows, at, extra, warp_rows,
                                  [&](int s, int j, int e) { return acc[s / kAcross][s % kAcross * 32 + j * 4 + e]; });
  }
#endif
}

template <class Tile>
void launch_tile(const char* name, [[maybe_unused]] const char* rich_name, GemmArgs args, const GemmDevice& device, rt::Stream stream) {
  args.column_tiles = (args.epilogue.n + Tile::kColumns - 1) / Tile::kColumns;
  const std::int64_t tiles = (static_cast<std::int64_t>(args.rows) + wgmma::kRows - 1) / wgmma::kRows * args.column_tiles;
  const auto blocks = static_cast<unsigned>(tiles < device.multiprocessors ? tiles : device.multiprocessors);
  constexpr int kBytes = static_cast<int>(sizeof(typename Tile::T));
  const TensorMap a = make_tensor_map(args.a, kBytes, args.rows, args.k, args.k, wgmma::kRows, Tile::kDepth);
  const TensorMap b = make_tensor_map(args.b, kBytes, args.epilogue.n, args.k, args.k, Tile::kColumns, Tile::kDepth);
  const auto run = [&](const char* own_name, auto* kernel) {
    launch(own_name, kernel, dim3(blocks), dim3(wgmma::kThreads), kSharedBytes<Tile>, stream, a, b, args);
  };
  if constexpr (std::is_same_v<typename Tile::T, e4m3>) {
    run(name, gemm_wgmma<Tile, true>);  // one kernel for both
  } else {
    if constexpr (Tile::kColumns != 192) {
      if (args.epilogue.is_rich()) return run(rich_name, gemm_wgmma<Tile, true>);
    }
    run(name, gemm_wgmma<Tile, false>);
  }
}

}  // namespace
}  // namespace signstep::kernels
