// What the kernels of gemm() are given: struct Gemm, with what the launcher has worked out.
#pragma once

#include "../ptx/device.h"
#include "kernels.h"
#include "walk.h"

namespace signstep::kernels {

// Row (image, y, x) of windows is stored at image * image_rows + y * line_rows + x * pixel_rows + offset. Row numbers are below 2^31.
struct GridMap {
  bool dense;  // as they come: row r is stored at r
  Divisor columns, lines;
  std::int32_t image_rows, line_rows, pixel_rows, offset;
};

struct EpilogueArgs {
  Epilogue kind;
  std::int32_t n;
  bool vector;            // n is a multiple of 8 and every array below lies on 16 bytes: runs of 8 columns go as a whole
  std::int32_t rows_per_image;  // step_linf only
  RowMap out_map;
  GridMap grid;           // in place of out_map, where the kernel is of a convolution
  void* out;
  const float* bias;
  const float* scale;
  const void* extra;      // residual (store, store_float, relu) or pre-activation (backward): [stored rows of out, n]
  const void* addend;     // residual (relu_backward)
  void* aux;              // pre-activation, written (activations)
  const float* table;
  const float* a_scale;   // [rows], e4m3 only
  const float* b_scale;   // [n]
  PatchStep step;
  // Of whole rows, see RowNorm.
  const float* norm_statistics;
  const float* column_sums;
  float epsilon;
  std::int32_t norm_columns;  // of the rows that the statistics are of
  const void* second;         // norm_backward: what was normalised, [rows, n]; swiglu_backward: as extra, 8 elements further on
  float* statistics;
  bool rms;
  float* dots;
  std::int32_t dot_parts;     // norm_backward

  // Whether it takes a kernel whose epilogues serve more than most products need.
  bool is_rich() const {
    return norm_statistics != nullptr || statistics != nullptr || dots != nullptr || kind == Epilogue::swiglu ||
           kind == Epilogue::swiglu_backward;
  }
};

struct GemmArgs {
  const void* a;
  const void* b;
  std::int32_t rows, k;
  std::int32_t column_tiles;
  RowMap a_map;
  Live live;
  EpilogueArgs epilogue;
};

namespace {

__device__ __forceinline__ int mapped_row(const RowMap& map, int row) {
  return map.group == 0 ? row : row / map.group * map.stride + map.offset + row % map.group;
}

__device__ __forceinline__ int mapped_row(const GridMap& map, int row) {
  if (map.dense) return row;
  const int line = static_cast<int>(map.columns.quotient(row, false)), x = row - line * static_cast<int>(map.columns.divisor);
  const int image = static_cast<int>(map.lines.quotient(line, false)), y = line - image * static_cast<int>(map.lines.divisor);
  return image * map.image_rows + y * map.line_rows + x * map.pixel_rows + map.offset;
}

// Rows of the images under attack, the same for all threads.
__device__ __forceinline__ int rows_alive(const GemmArgs& args) {
  if (args.live.count == nullptr || args.live.rows_per_image == 0) return args.rows;
  const std::int64_t alive = static_cast<std::int64_t>(*args.live.count) * args.live.rows_per_image;
  return alive < args.rows ? static_cast<int>(alive) : args.rows;
}

}  // namespace
}  // namespace signstep::kernels
