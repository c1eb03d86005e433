// What has happened to every byte of a block's shared memory, to see accesses that nothing orders: two warps (or two lanes without a
// __syncwarp between), one of them writing; bytes that an asynchronous copy is still writing or a product still reading; stores that no
// fence has made known to the asynchronous proxy.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "clocks.h"

namespace signstep::sim {

class RaceMap {
 public:
  explicit RaceMap(Clocks& clocks) : clocks_(clocks) {}
  void prepare_for(std::size_t shared_bytes);
  void begin_block(bool forget);
  void fence(std::uint32_t thread) { ++fences_[thread]; }  // fence.proxy.async

  // All throw Fault. Offsets are within the shared memory.
  void read(std::size_t offset, std::size_t bytes, std::uint32_t thread);
  void write(std::size_t offset, std::size_t bytes, std::uint32_t thread);
  void atomic(std::size_t offset, std::size_t bytes, std::uint32_t thread);

  // Asynchronous copies into shared memory, from issue to delivery.
  void begin_copy(std::size_t offset, std::size_t bytes, std::uint32_t thread, bool async_proxy);
  void end_copy(std::size_t offset, std::size_t bytes, std::uint16_t who, std::uint32_t epoch);
  // Asynchronous reads by the async proxy; `thread` issues them and must know of what was written.
  void check_async_read(std::size_t offset, std::size_t bytes, std::uint32_t thread) const;
  void begin_async_read(std::size_t offset, std::size_t bytes);
  void end_async_read(std::size_t offset, std::size_t bytes, std::uint16_t who, std::uint32_t epoch);

 private:
  struct Cell {
    std::uint32_t write_epoch = 0;
    std::uint32_t read_epoch = 0;  // where `reader` is several: index in readers_
    std::uint16_t writer = 0;
    std::uint16_t reader = 0;
    std::uint16_t fences = 0;  // of the writer, then
    std::uint8_t state = 0;
    std::uint8_t reads_in_flight = 0;
  };
  static constexpr std::uint8_t write_in_flight = 1, written_atomically = 2, written_by_thread = 4;
  using Readers = std::array<std::uint32_t, first_mbarrier_slot>;  // epoch of each warp and warpgroup

  void check_not_in_flight(const Cell& cell, std::size_t offset, bool writes) const;
  void check_after_write(const Cell& cell, std::size_t offset, std::uint32_t thread, const char* doing) const;
  void check_after_reads(const Cell& cell, std::size_t offset, std::uint32_t thread) const;
  void check_fenced(const Cell& cell, std::size_t offset) const;
  void remember_read(Cell& cell, std::uint16_t who, std::uint32_t slot, std::uint32_t epoch);

  Clocks& clocks_;
  std::vector<Cell> cells_;
  std::vector<Readers> readers_;
  std::array<std::uint16_t, 1024> fences_ = {};
};

}  // namespace signstep::sim
