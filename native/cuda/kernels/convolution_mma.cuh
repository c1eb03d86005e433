// convolution() on the mma.sync core: gemm_mma over rows of windows, in kernels of its own, so that gemm() keeps its registers.
#pragma once

#include "convolution_launch.h"
#include "convolution_loader.cuh"
#include "gemm_epilogue.cuh"

namespace signstep::kernels {
namespace {

using namespace signstep::device;

template <class Tile, bool kAligned>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks) convolution_mma(const __grid_constant__ ConvolutionArgs args) {
  using T = typename Tile::T;
  using Traits = EpilogueTraits<false, false, false, true>;
  static_assert(Tile::kThreads / 32 * kEpilogueBytes<T> <= Tile::kSharedBytes);
  const GemmArgs& product = args.product;
  const int tile = static_cast<int>(blockIdx.x);
  const int first_row = tile / product.column_tiles * Tile::kRows, first_column = tile % product.column_tiles * Tile::kColumns;
  const int rows = rows_alive(product);
  if (first_row >= rows) return;

  mma::Accumulators<Tile::kSlabs> acc;
  Shared<std::uint8_t> memory = dynamic_shared();
  WindowLoader<Tile, kAligned> a(product.a, args.window, [&](int r) { return first_row + r < rows ? first_row + r : -1; });
  const mma::Loader<Tile, Tile::kColumns, kAligned> b(
      product.b, product.k, [&](int r) { return first_column + r < product.epilogue.n ? first_column + r : -1; });
  mma::main_loop<Tile>(acc, memory, a, b, product.k);

  const int warp = static_cast<int>(threadIdx.x) / 32;
  const WarpTile at{first_row + warp / Tile::kWarpsN * Tile::kSlabs * kSlabRows, first_column + warp % Tile::kWarpsN * kSlabColumns,
                    kSlabRows, 1};
  Shared<std::uint8_t> own = memory + warp * kEpilogueBytes<T>;
  const ExtraRuns<T, Traits> extra(own + kStageBytes);
  extra.fetch(product.epilogue, rows, at, 0, Tile::kSlabs);
  write_tile<T, Tile::kSlabs, Traits>(product.epilogue, shared_cast<float>(own), rows, at, extra,
                                      WarpRows<Tile::kSlabs>{}, [&](int s, int j, int e) { return acc[s][j][e]; });
}

template <class Tile, bool kAligned>
void launch_convolution_mma(const char* name, ConvolutionArgs args, rt::Stream stream) {
  GemmArgs& product = args.product;
  product.column_tiles = (product.epilogue.n + Tile::kColumns - 1) / Tile::kColumns;
  const std::int64_t tiles = (static_cast<std::int64_t>(product.rows) + Tile::kRows - 1) / Tile::kRows * product.column_tiles;
  launch(name, convolution_mma<Tile, kAligned>, dim3(static_cast<unsigned>(tiles)), dim3(Tile::kThreads), Tile::kSharedBytes, stream, args);
}

// The tiles of gemm_mma.
template <class T>
void launch_convolution_mma16(const GemmConfig& config, const ConvolutionArgs& args, rt::Stream stream) {
  using Large = mma::Tile<T, 2, 2, 4, 64, 3, 2>;
  using Small = mma::Tile<T, 4, 1, 1, 128, 3, 2>;
  if (!config.aligned)
    launch_convolution_mma<Small, false>("convolution_mma_64x64_unaligned", args, stream);
  else if (config.tile_rows == 128)
    launch_convolution_mma<Large, true>("convolution_mma_128x128", args, stream);
  else
    launch_convolution_mma<Small, true>("convolution_mma_64x64", args, stream);
}

}  // namespace
}  // namespace signstep::kernels
