// TMA: boxes of a matrix between global and shared memory, in the 128-byte swizzle. Checked launches deliver a load as late as someone's wait
// for its mbarrier allows (odd seeds), or at a random moment (even ones); stores read at their wait.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../cuda/ptx/tensor_map.h"
#include "mbarrier.h"
#include "shared.h"

namespace signstep::sim {

struct Matrix {  // what a TensorMap holds
  std::uint64_t mark;
  std::byte* base;
  std::int64_t rows, columns, row_stride;  // elements
  std::int32_t element_bytes, box_rows;
};

struct Box {
  Matrix matrix;
  std::size_t shared;  // offset
  std::int32_t column, row;
  std::uint32_t mbarrier;  // loads
  std::size_t bytes() const { return static_cast<std::size_t>(matrix.box_rows) * 128; }
};

// The 128-byte swizzle: the 16-byte chunk within a 128-byte row (bits 4-6 of the address) is xored with the row (bits 7-9).
inline std::size_t swizzled(std::size_t offset) { return offset ^ (offset >> 3 & 0x70); }

void load_box(void* to, const device::TensorMap& map, int column, int row, const void* mbarrier);
void deliver_load(Block& block, const Box& box);
void store_box(const device::TensorMap& map, int column, int row, const void* from);
void commit_stores();
void wait_stores(std::size_t groups_in_flight);
void fence_async_proxy();

}  // namespace signstep::sim

namespace signstep::device {

template <class T>
inline void tma_load_2d(Shared<T> to, const TensorMap& map, int column, int row, Shared<Mbar> done) {
  sim::load_box(to.address(), map, column, row, done.address());
}
template <class T>
inline void tma_store_2d(const TensorMap& map, int column, int row, Shared<T> from) {
  sim::store_box(map, column, row, from.address());
}
inline void tma_store_commit() {
  if (sim::checking) [[unlikely]] sim::commit_stores();
}
template <int N>
inline void tma_store_wait() {
  if (sim::checking) [[unlikely]] sim::wait_stores(N);
}
inline void fence_proxy_async() {
  if (sim::checking) [[unlikely]] sim::fence_async_proxy();
}
inline void tma_prefetch(const TensorMap&) {}

}  // namespace signstep::device
