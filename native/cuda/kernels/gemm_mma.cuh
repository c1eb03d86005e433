// gemm() on the mma.sync core: a block a tile. Tiles are numbered along the columns first, so that blocks that run together share rows of a;
// b, a weight matrix, stays in the L2 cache.
#pragma once

#include "../mma/mma_core.cuh"
#include "gemm_epilogue.cuh"
#include "gemm_launch.h"

namespace signstep::kernels {
namespace {

using namespace signstep::device;

template <class Tile, bool kAligned, bool kRich>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks) gemm_mma(const __grid_constant__ GemmArgs args) {
  using T = ValueOf<typename Tile::T>;
  using Traits = std::conditional_t<std::is_same_v<typename Tile::T, e4m3>, QuantisedEpilogue, AnyEpilogue<kRich>>;
  static_assert(Tile::kThreads / 32 * kEpilogueBytes<T> <= Tile::kSharedBytes);
  if constexpr (std::is_same_v<typename Tile::T, e4m3> && !SIGNSTEP_HAS_E4M3_MMA) return;
  const int tile = static_cast<int>(blockIdx.x);
  const int first_row = tile / args.column_tiles * Tile::kRows, first_column = tile % args.column_tiles * Tile::kColumns;
  const int rows = rows_alive(args);
  if (first_row >= rows) return;

  mma::Accumulators<Tile::kSlabs> acc;
  Shared<std::uint8_t> memory = dynamic_shared();
  const mma::Loader<Tile, Tile::kRows, kAligned> a(
      args.a, args.k, [&](int r) { return first_row + r < rows ? mapped_row(args.a_map, first_row + r) : -1; });
  const mma::Loader<Tile, Tile::kColumns, kAligned> b(args.b, args.k,
                                                      [&](int r) { return first_column + r < args.epilogue.n ? first_column + r : -1; });
  mma::main_loop<Tile>(acc, memory, a, b, args.k);

  const int warp = static_cast<int>(threadIdx.x) / 32;
  const WarpTile at{first_row + warp / Tile::kWarpsN * Tile::kSlabs * kSlabRows, first_column + warp % Tile::kWarpsN * kSlabColumns,
                    kSlabRows, 1};
  Shared<std::uint8_t> own = memory + warp * kEpilogueBytes<T>;
  const ExtraRuns<T, Traits> extra(own + kStageBytes);
  extra.fetch(args.epilogue, rows, at, 0, Tile::kSlabs);
  WarpRows<Tile::kSlabs> warp_rows;
  if constexpr (kRich) warp_rows.prepare(args.epilogue, rows, at);
  write_tile<T, Tile::kSlabs, Traits>(args.epilogue, shared_cast<float>(own), rows, at, extra, warp_rows,
                                      [&](int s, int j, int e) { return acc[s][j][e]; });
}

template <class Tile, bool kAligned>
void launch_gemm_mma(const char* name, [[maybe_unused]] const char* rich_name, GemmArgs args, rt::Stream stream) {
  args.column_tiles = (args.epilogue.n + Tile::kColumns - 1) / Tile::kColumns;
  const std::int64_t tiles = (static_cast<std::int64_t>(args.rows) + Tile::kRows - 1) / Tile::kRows * args.column_tiles;
  const dim3 blocks(static_cast<unsigned>(tiles)), threads(Tile::kThreads);
  if constexpr (std::is_same_v<typename Tile::T, e4m3>)
    launch(name, gemm_mma<Tile, kAligned, true>, blocks, threads, Tile::kSharedBytes, stream, args);  // one kernel for both
  else if (args.epilogue.is_rich())
    launch(rich_name, gemm_mma<Tile, kAligned, true>, blocks, threads, Tile::kSharedBytes, stream, args);
  else
    launch(name, gemm_mma<Tile, kAligned, false>, blocks, threads, Tile::kSharedBytes, stream, args);
}

// 128x128: 128 accumulators a thread, 64 multiplications of 16x8x16 between barriers, 48 KB of stages, so that two blocks fit everywhere.
// 64x64: four times the blocks, for products too small to fill the chip.
template <class T>
void launch_gemm_mma16(const GemmConfig& config, const GemmArgs& args, rt::Stream stream) {
  using Large = mma::Tile<T, 2, 2, 4, 64, 3, 2>;
  using Small = mma::Tile<T, 4, 1, 1, 128, 3, 2>;
  if (!config.aligned)
    launch_gemm_mma<Small, false>("gemm_mma_64x64_unaligned", "gemm_mma_64x64_unaligned_rich", args, stream);
  else if (config.tile_rows == 128)
    launch_gemm_mma<Large, true>("gemm_mma_128x128", "gemm_mma_128x128_rich", args, stream);
  else
    launch_gemm_mma<Small, true>("gemm_mma_64x64", "gemm_mma_64x64_rich", args, stream);
}

}  // namespace
}  // namespace signstep::kernels
