#include "race_map.h"

#include <string>

#include "block.h"

namespace signstep::sim {
namespace {

std::string name_of(std::uint16_t who) {
  if (who == several) return "several threads";
  if ((who & engine) != 0) {
    const std::uint32_t slot = who & 0x7FFFu;
    if (slot < first_mbarrier_slot) return "a product of warpgroup " + std::to_string(slot - first_warpgroup_slot);
    return "a TMA copy";
  }
  if ((who & lanes_of) != 0) return "warp " + std::to_string(who & 31u);
  return "thread " + std::to_string(who) + " (warp " + std::to_string(who / 32u) + ")";
}

std::string byte_at(std::size_t offset) { return "shared byte " + std::to_string(offset); }

std::uint32_t slot_of(std::uint16_t who) {
  if ((who & engine) != 0) return who & 0x7FFFu;
  if ((who & lanes_of) != 0) return who & 31u;
  return who / 32u;
}

}  // namespace

void RaceMap::prepare_for(std::size_t shared_bytes) {
  if (cells_.size() < shared_bytes) cells_.resize(shared_bytes);
}

void RaceMap::begin_block(bool forget) {
  if (forget) cells_.assign(cells_.size(), Cell{});
  readers_.clear();
  fences_.fill(0);
  // Epochs of blocks before count as ordered; only an index into readers_ would not.
  if (!forget) {
    for (Cell& cell : cells_) {
      if (cell.reader == several) cell.reader = 0, cell.read_epoch = 0;
    }
  }
}

void RaceMap::check_not_in_flight(const Cell& cell, std::size_t offset, bool writes) const {
  if ((cell.state & write_in_flight) != 0) {
    fail(std::string(writes ? "writes " : "reads ") + byte_at(offset) + ", which an asynchronous copy not waited for still writes");
  }
  if (writes && cell.reads_in_flight != 0) {
    fail("writes " + byte_at(offset) + ", which a wgmma or TMA store not waited for still reads");
  }
}

void RaceMap::check_after_write(const Cell& cell, std::size_t offset, std::uint32_t thread, const char* doing) const {
  if (clocks_.ordered(cell.writer, cell.write_epoch, thread)) return;
  fail(std::string("race: ") + doing + " " + byte_at(offset) + ", which " + name_of(cell.writer) + " wrote with no barrier between");
}

void RaceMap::check_after_reads(const Cell& cell, std::size_t offset, std::uint32_t thread) const {
  if (cell.reader == several) {
    const Readers& readers = readers_[cell.read_epoch];
    for (std::uint32_t slot = 0; slot < readers.size(); ++slot) {
      if (clocks_.slot_ordered(slot, readers[slot], thread / 32)) continue;
      const auto who = static_cast<std::uint16_t>(slot < warp_slots ? lanes_of | slot : engine | slot);
      fail("race: writes " + byte_at(offset) + ", which " + name_of(who) + " read with no barrier between");
    }
  } else if (!clocks_.ordered(cell.reader, cell.read_epoch, thread)) {
    fail("race: writes " + byte_at(offset) + ", which " + name_of(cell.reader) + " read with no barrier between");
  }
}

void RaceMap::check_fenced(const Cell& cell, std::size_t offset) const {
  if ((cell.state & written_by_thread) == 0 || cell.write_epoch <= clocks_.base() || cell.fences != fences_[cell.writer]) return;
  fail("the asynchronous proxy uses " + byte_at(offset) + ", which " + name_of(cell.writer) + " wrote without fence_proxy_async after it");
}

void RaceMap::remember_read(Cell& cell, std::uint16_t who, std::uint32_t slot, std::uint32_t epoch) {
  if (cell.reader == several) {
    readers_[cell.read_epoch][slot] = epoch;
    return;
  }
  if (cell.read_epoch <= clocks_.base() || cell.reader == who) {
    cell.reader = who;
    cell.read_epoch = epoch;
    return;
  }
  const std::uint32_t before = slot_of(cell.reader);
  if (before == slot) {
    cell.reader = static_cast<std::uint16_t>(slot < warp_slots ? lanes_of | slot : engine | slot);
    cell.read_epoch = epoch;
    return;
  }
  Readers readers = {};
  readers[before] = cell.read_epoch;
  readers[slot] = epoch;
  cell.reader = several;
  cell.read_epoch = static_cast<std::uint32_t>(readers_.size());
  readers_.push_back(readers);
}

void RaceMap::read(std::size_t offset, std::size_t bytes, std::uint32_t thread) {
  const std::uint32_t warp = thread / 32, epoch = clocks_.epoch(warp);
  for (std::size_t i = offset; i < offset + bytes; ++i) {
    Cell& cell = cells_[i];
    check_not_in_flight(cell, i, false);
    check_after_write(cell, i, thread, "reads");
    remember_read(cell, static_cast<std::uint16_t>(thread), warp, epoch);
  }
}

void RaceMap::write(std::size_t offset, std::size_t bytes, std::uint32_t thread) {
  const std::uint32_t epoch = clocks_.epoch(thread / 32);
  for (std::size_t i = offset; i < offset + bytes; ++i) {
    Cell& cell = cells_[i];
    check_not_in_flight(cell, i, true);
    check_after_write(cell, i, thread, "writes");
    check_after_reads(cell, i, thread);
    cell = {.write_epoch = epoch, .writer = static_cast<std::uint16_t>(thread), .fences = fences_[thread], .state = written_by_thread};
  }
}

void RaceMap::atomic(std::size_t offset, std::size_t bytes, std::uint32_t thread) {
  const std::uint32_t epoch = clocks_.epoch(thread / 32);
  for (std::size_t i = offset; i < offset + bytes; ++i) {
    Cell& cell = cells_[i];
    check_not_in_flight(cell, i, true);
    if ((cell.state & written_atomically) == 0) check_after_write(cell, i, thread, "updates");
    check_after_reads(cell, i, thread);
    cell = {.write_epoch = epoch, .writer = static_cast<std::uint16_t>(thread), .fences = fences_[thread],
            .state = written_by_thread | written_atomically};
  }
}

void RaceMap::begin_copy(std::size_t offset, std::size_t bytes, std::uint32_t thread, bool async_proxy) {
  for (std::size_t i = offset; i < offset + bytes; ++i) {
    Cell& cell = cells_[i];
    check_not_in_flight(cell, i, true);
    check_after_write(cell, i, thread, "copies to");
    check_after_reads(cell, i, thread);
    if (async_proxy) check_fenced(cell, i);
    cell.state |= write_in_flight;
  }
}

void RaceMap::end_copy(std::size_t offset, std::size_t bytes, std::uint16_t who, std::uint32_t epoch) {
  const bool by_thread = (who & engine) == 0;
  for (std::size_t i = offset; i < offset + bytes; ++i) {
    cells_[i] = {.write_epoch = epoch, .writer = who, .fences = by_thread ? fences_[who] : std::uint16_t{0},
                 .state = by_thread ? written_by_thread : std::uint8_t{0}};
  }
}

void RaceMap::check_async_read(std::size_t offset, std::size_t bytes, std::uint32_t thread) const {
  for (std::size_t i = offset; i < offset + bytes; ++i) {
    const Cell& cell = cells_[i];
    check_not_in_flight(cell, i, false);
    check_after_write(cell, i, thread, "reads asynchronously");
    check_fenced(cell, i);
  }
}

void RaceMap::begin_async_read(std::size_t offset, std::size_t bytes) {
  for (std::size_t i = offset; i < offset + bytes; ++i) ++cells_[i].reads_in_flight;
}

void RaceMap::end_async_read(std::size_t offset, std::size_t bytes, std::uint16_t who, std::uint32_t epoch) {
  for (std::size_t i = offset; i < offset + bytes; ++i) {
    --cells_[i].reads_in_flight;
    remember_read(cells_[i], who, slot_of(who), epoch);
  }
}

}  // namespace signstep::sim
