// Where a warp's share of a product lies in the logical matrix.
#pragma once

#include "../ptx/device.h"

namespace signstep::kernels {
namespace {

constexpr int kSlabRows = 16, kSlabColumns = 64;

// Slabs of 16 rows by 64 columns, `across` of them side by side, then the next row of slabs row_step further down.
struct WarpTile {
  int row, column, row_step, across;

  __device__ __forceinline__ int slab_row(int slab) const { return row + slab / across * row_step; }
  __device__ __forceinline__ int slab_column(int slab) const { return column + slab % across * kSlabColumns; }
};

}  // namespace
}  // namespace signstep::kernels
