// Where TMA finds a matrix: made on the host, passed to kernels as `const __grid_constant__ TensorMap`. The same in both builds.
#pragma once

#include <cstdint>

namespace signstep::device {

struct alignas(64) TensorMap {
  std::uint64_t opaque[16];  // a CUtensorMap; the simulator's own description there
};

// A matrix of elements of 2 bytes or 1, rows `row_stride_elements` apart (a multiple of 16 bytes; base 16-byte aligned), moved in boxes of
// box_rows (at most 256) x box_columns (64 or 128: a row of a box is always 128 bytes). In shared memory row r of a box lies at 128 r bytes, its 16-byte chunk c at
// chunk c ^ (r % 8). Elements beyond the matrix read as zero and are not written. Throws rt::Failure. Defined by the device runtime.
TensorMap make_tensor_map(const void* base, int element_bytes, std::int64_t rows, std::int64_t columns, std::int64_t row_stride_elements,
                          int box_rows, int box_columns);

}  // namespace signstep::device
