#include "tma.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "../cuda/engine/runtime.h"
#include "checks.h"

namespace signstep::sim {
namespace {

constexpr std::uint64_t matrix_mark = 0x58495254414D4154u;

Matrix matrix_of(const device::TensorMap& map, const char* what) {
  Matrix matrix;
  static_assert(sizeof matrix <= sizeof map);
  std::memcpy(&matrix, &map, sizeof matrix);
  if (matrix.mark != matrix_mark) fail(std::string(what) + ": not a map that make_tensor_map made");
  return matrix;
}

// Calls piece(shared offset, global address, bytes inside the matrix) for each 16-byte chunk of the box.
template <class Piece>
void each_chunk(const Box& box, Piece&& piece) {
  const Matrix& m = box.matrix;
  const std::int64_t chunk = 16 / m.element_bytes;
  for (std::int32_t r = 0; r < m.box_rows; ++r) {
    const std::int64_t row = std::int64_t{box.row} + r;
    for (std::int32_t c = 0; c < 8; ++c) {
      const std::int64_t column = box.column + c * chunk;
      const std::size_t at = swizzled(box.shared + static_cast<std::size_t>(r) * 128 + static_cast<std::size_t>(c) * 16);
      // A chunk may begin left of the matrix: its first elements are outside then.
      const std::int64_t from = std::clamp<std::int64_t>(-column, 0, chunk), to = std::clamp<std::int64_t>(m.columns - column, 0, chunk);
      const bool inside = row >= 0 && row < m.rows && from < to;
      const auto bytes = [&](std::int64_t elements) { return static_cast<std::size_t>(inside ? elements * m.element_bytes : 0); };
      piece(at, inside ? m.base + (row * m.row_stride + column + from) * m.element_bytes : nullptr, bytes(from), bytes(to - from));
    }
  }
}

void write_global(Block& block, const Box& box) {
  each_chunk(box, [&](std::size_t at, std::byte* global, std::size_t skip, std::size_t bytes) {
    if (bytes != 0) std::memcpy(global, block.shared + at + skip, bytes);
  });
}

// One thread of the warp issues: no rendezvous. All bytes must lie in shared memory from a 1024-byte boundary on.
std::size_t box_offset(const void* at, const Matrix& matrix) {
  return shared_offset(at, static_cast<std::size_t>(matrix.box_rows) * 128, 1024);
}

}  // namespace

void load_box(void* to, const device::TensorMap& map, int column, int row, const void* mbarrier) {
  Block& block = *current->block;
  const Matrix matrix = matrix_of(map, "tma_load_2d");
  const std::uint32_t index = mbarrier_of(mbarrier, "tma_load_2d");
  const Box box{matrix, box_offset(to, matrix), column, row, index};
  if (!checking) {
    deliver_load(block, box);
    return;
  }
  check_shared(mbarrier, 8, 8, Access::atomic);
  if (!block.mbarriers[index].fenced) fail("tma_load_2d: its mbarrier was initialised without mbar_init_fence after it");
  block.checks->races.begin_copy(box.shared, box.bytes(), current->number, true);
  block.checks->loads.push_back(box);
}

void deliver_load(Block& block, const Box& box) {
  each_chunk(box, [&](std::size_t at, const std::byte* global, std::size_t skip, std::size_t bytes) {
    if (bytes != 16) std::memset(block.shared + at, 0, 16);
    if (bytes != 0) std::memcpy(block.shared + at + skip, global, bytes);
  });
  if (block.checks != nullptr) {
    const std::uint32_t epoch = block.checks->clocks.mbarrier_delivered(box.mbarrier);
    block.checks->races.end_copy(box.shared, box.bytes(), static_cast<std::uint16_t>(engine | (first_mbarrier_slot + box.mbarrier)), epoch);
  }
  mbarrier_bytes(block, box.mbarrier, static_cast<std::int64_t>(box.bytes()));
}

void store_box(const device::TensorMap& map, int column, int row, const void* from) {
  Block& block = *current->block;
  const Matrix matrix = matrix_of(map, "tma_store_2d");
  const Box box{matrix, box_offset(from, matrix), column, row, 0};
  if (!checking) {
    write_global(block, box);
    return;
  }
  block.checks->races.check_async_read(box.shared, box.bytes(), current->number);
  block.checks->races.begin_async_read(box.shared, box.bytes());
  block.checks->thread[current->number].stores.open.push_back(box);
}

void commit_stores() {
  auto& stores = current->block->checks->thread[current->number].stores;
  stores.committed.push_back(std::exchange(stores.open, {}));
}

void wait_stores(std::size_t groups_in_flight) {
  Thread& self = *current;
  Checks& checks = *self.block->checks;
  auto& stores = checks.thread[self.number].stores;
  if (!stores.open.empty()) fail("tma_store_wait with stores in no group: tma_store_commit is missing");
  while (stores.committed.size() > groups_in_flight) {
    for (const Box& box : stores.committed.front()) {
      write_global(*self.block, box);
      checks.races.end_async_read(box.shared, box.bytes(), static_cast<std::uint16_t>(self.number), checks.clocks.epoch(self.warp));
    }
    stores.committed.erase(stores.committed.begin());
  }
}

void fence_async_proxy() { current->block->checks->races.fence(current->number); }

}  // namespace signstep::sim

namespace signstep::device {

TensorMap make_tensor_map(const void* base, int element_bytes, std::int64_t rows, std::int64_t columns, std::int64_t row_stride_elements,
                          int box_rows, int box_columns) {
  const auto refuse = [](const std::string& what) { throw rt::Failure{rt::Failure::Kind::invalid, "tensor map: " + what}; };
  if (element_bytes != 2 && element_bytes != 1) refuse("elements of " + std::to_string(element_bytes) + " bytes, not 2 or 1");
  if (box_columns * element_bytes != 128) refuse("boxes of " + std::to_string(box_columns * element_bytes) + " bytes across, not 128");
  if (box_rows < 1 || box_rows > 256) refuse("boxes of " + std::to_string(box_rows) + " rows (1 to 256)");
  if (reinterpret_cast<std::uintptr_t>(base) % 16 != 0) refuse("the matrix does not begin at a multiple of 16 bytes");
  if (row_stride_elements * element_bytes % 16 != 0 || row_stride_elements < columns) refuse("a row stride of " + std::to_string(row_stride_elements) + " elements");
  if (rows < 1 || columns < 1 || rows > 0xFFFFFFFFll || columns > 0xFFFFFFFFll) {
    refuse("a matrix of " + std::to_string(rows) + "x" + std::to_string(columns));
  }
  const sim::Matrix matrix{sim::matrix_mark, static_cast<std::byte*>(const_cast<void*>(base)), rows, columns, row_stride_elements, element_bytes,
                           box_rows};
  TensorMap map{};
  std::memcpy(&map, &matrix, sizeof matrix);
  return map;
}

}  // namespace signstep::device
