#include "wgmma.h"

#include <memory>
#include <bit>
#include <cstring>
#include <string>

#include "checks.h"
#include "tma.h"

namespace signstep::sim {
namespace {

constexpr std::uint64_t address_bits = 0x3FFF;
constexpr std::uint64_t descriptor_rest = 1ull << 16 | (1024ull >> 4) << 32 | 1ull << 62;  // as on the GPU

WarpgroupProducts& own_products() {
  const Thread& self = *current;
  if (self.warp / 4 * 128 + 128 > self.block->threads) fail("wgmma: the last warpgroup of the block is not of 128 threads");
  self.block->products->used = true;
  return self.block->products->warpgroup[self.warp / 4];
}

// The first byte of a tile, checked: a row of elements per 128 bytes from a 1024-byte boundary on, at a step of 32 bytes inside it.
std::size_t tile_offset(std::uint64_t descriptor, std::int32_t rows, const char* which) {
  if ((descriptor & ~address_bits) != descriptor_rest) fail(std::string("wgmma: the descriptor of ") + which + " was not made by wgmma_descriptor");
  const std::size_t offset = (descriptor & address_bits) << 4;
  if (offset % 1024 >= 128 || offset % 32 != 0) {
    fail(std::string("wgmma: tile ") + which + " at shared offset " + std::to_string(offset) +
         ": it must begin at a multiple of 1024 bytes, or 32, 64 or 96 bytes after one");
  }
  if (offset / 1024 * 1024 + static_cast<std::size_t>(rows) * 128 > current->block->shared_bytes) {
    fail(std::string("wgmma: tile ") + which + " at shared offset " + std::to_string(offset) + " is out of shared memory");
  }
  return offset;
}

// Chunk 0 or 1 (16 bytes each) of a row.
std::size_t chunk_at(std::size_t tile, std::int32_t row, std::int32_t chunk) {
  return swizzled(tile + static_cast<std::size_t>(row) * 128 + static_cast<std::size_t>(chunk) * 16);
}

template <class F>
void each_chunk(std::size_t tile, std::int32_t rows, F&& f) {
  for (std::int32_t r = 0; r < rows; ++r) {
    for (std::int32_t c = 0; c < 2; ++c) f(chunk_at(tile, r, c));
  }
}

using Four = float __attribute__((vector_size(16)));
constexpr std::int32_t most_columns = 256, most_depth = 32;
struct alignas(32) Scratch {
  float a[64][most_depth];
  float b[most_depth][most_columns];
  float d[64][most_columns];
};
// On the heap: a plugin opened at run time has little room for thread-local storage.
Scratch& scratch() {
  static thread_local const auto one = std::make_unique<Scratch>();
  return *one;
}

template <Elements elements>
float number(std::conditional_t<elements == Elements::e4m3, std::uint8_t, std::uint16_t> bits) {
  if constexpr (elements == Elements::e4m3) return e4m3_to_float(bits);
  return elements == Elements::bf16 ? bf16_to_float(bits) : f16_to_float(bits);
}

template <Elements elements>
constexpr std::int32_t chunk_elements = elements == Elements::e4m3 ? 16 : 8;

template <Elements elements>
void read_tile(const std::byte* shared, std::size_t tile, std::int32_t rows, float* out, std::ptrdiff_t by_row, std::ptrdiff_t by_element) {
  constexpr std::int32_t count = chunk_elements<elements>;
  for (std::int32_t r = 0; r < rows; ++r) {
    for (std::int32_t c = 0; c < 2; ++c) {
      std::conditional_t<elements == Elements::e4m3, std::uint8_t, std::uint16_t> bits[count];
      std::memcpy(bits, shared + chunk_at(tile, r, c), 16);
      for (std::int32_t e = 0; e < count; ++e) out[r * by_row + (c * count + e) * by_element] = number<elements>(bits[e]);
    }
  }
}

// scratch().d += A . B^T
template <Elements elements>
void multiply_tiles(const std::byte* shared, std::size_t a, std::size_t b, std::int32_t columns) {
  constexpr std::int32_t depth = 2 * chunk_elements<elements>;
  Scratch& s = scratch();
  read_tile<elements>(shared, a, 64, &s.a[0][0], most_depth, 1);
  read_tile<elements>(shared, b, columns, &s.b[0][0], 1, most_columns);
  // Two rows by sixteen columns: eight sums, which fit the sixteen registers of x86-64 with what they need.
  for (std::int32_t j = 0; j < columns; j += 16) {
    for (std::int32_t i = 0; i < 64; i += 2) {
      auto* upper = reinterpret_cast<Four*>(&s.d[i][j]);
      auto* lower = reinterpret_cast<Four*>(&s.d[i + 1][j]);
      Four u[4], l[4];
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) u[v] = upper[v], l[v] = lower[v];
      for (std::int32_t k = 0; k < depth; ++k) {
        const float x = s.a[i][k], y = s.a[i + 1][k];
        const auto* row = reinterpret_cast<const Four*>(&s.b[k][j]);
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) {
          u[v] += x * row[v];
          l[v] += y * row[v];
        }
      }
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) upper[v] = u[v], lower[v] = l[v];
    }
  }
}

void multiply_tiles(Elements elements, const std::byte* shared, std::size_t a, std::size_t b, std::int32_t columns) {
  switch (elements) {
    case Elements::bf16: return multiply_tiles<Elements::bf16>(shared, a, b, columns);
    case Elements::f16: return multiply_tiles<Elements::f16>(shared, a, b, columns);
    default: return multiply_tiles<Elements::e4m3>(shared, a, b, columns);
  }
}

// Register e of 4j + e in thread t: see wgmma_m64k16.
std::int32_t row_of(std::int32_t t, std::int32_t e) { return t / 32 * 16 + t % 32 / 4 + e / 2 * 8; }
std::int32_t column_of(std::int32_t t, std::int32_t j, std::int32_t e) { return 8 * j + t % 4 * 2 + e % 2; }

template <class F>
void each_register(std::int32_t columns, F&& f) {
  for (std::int32_t t = 0; t < 128; ++t) {
    for (std::int32_t j = 0; j < columns / 8; ++j) {
      for (std::int32_t e = 0; e < 4; ++e) f(t, 4 * j + e, row_of(t, e), column_of(t, j, e));
    }
  }
}

void multiply_now(const Block& block, const WarpgroupProducts& own) {
  Scratch& s = scratch();
  const std::size_t a = tile_offset(own.a, 64, "A"), b = tile_offset(own.b, own.columns, "B");
  each_register(own.columns, [&](std::int32_t t, std::int32_t r, std::int32_t row, std::int32_t column) {
    s.d[row][column] = own.accumulate ? own.registers[static_cast<std::size_t>(t)][r] : 0.0f;
  });
  multiply_tiles(own.elements, block.shared, a, b, own.columns);
  each_register(own.columns, [&](std::int32_t t, std::int32_t r, std::int32_t row, std::int32_t column) {
    own.registers[static_cast<std::size_t>(t)][r] = s.d[row][column];
  });
}

// ---- while checking ----------------------------------------------------------------------------------------------------------------------

constexpr std::uint32_t poison = 0xFFFFFFFFu;  // a NaN that no operation gives

bool poisoned(const float* registers, std::int32_t count) {
  for (std::int32_t i = 0; i < count; ++i) {
    if (std::bit_cast<std::uint32_t>(registers[i]) != poison) return false;
  }
  return true;
}

std::uint64_t digest_of(const float* registers, std::int32_t count) {
  std::uint64_t digest = 0xCBF29CE484222325u;
  for (std::int32_t i = 0; i < count; ++i) digest = (digest ^ std::bit_cast<std::uint32_t>(registers[i])) * 0x100000001B3u;
  return digest;
}

Accumulator* in_flight(WarpgroupProducts& own, const float* registers, std::size_t t) {
  for (const auto& accumulator : own.accumulators) {
    if (accumulator->registers[t] == registers && !accumulator->delivered_to[t]) return accumulator.get();
  }
  return nullptr;
}

// What each thread must have seen to before it takes part.
void check_registers(WarpgroupProducts& own, std::size_t t, const float* registers, std::int32_t columns) {
  ThreadProducts& mine = own.thread[t];
  if (in_flight(own, registers, t) != nullptr) {
    if (!poisoned(registers, columns / 2)) fail("wgmma: the accumulator was written while a product on it was under way");
    return;
  }
  if (mine.fenced) return;
  for (const ThreadProducts::Delivered& known : mine.delivered) {
    if (known.registers == registers && known.digest == digest_of(registers, columns / 2)) return;
  }
  fail("wgmma: its accumulator was written and no wgmma_fence came after");
}

void issue(Block& block, WarpgroupProducts& own) {
  Checks& checks = *block.checks;
  const std::uint32_t warpgroup = current->warp / 4;
  const std::size_t a = tile_offset(own.a, 64, "A"), b = tile_offset(own.b, own.columns, "B");
  for (std::uint32_t w = 0; w < 4; ++w) {
    const std::uint32_t thread = warpgroup * 128 + w * 32;
    each_chunk(a, 64, [&](std::size_t at) { checks.races.check_async_read(at, 16, thread); });
    each_chunk(b, own.columns, [&](std::size_t at) { checks.races.check_async_read(at, 16, thread); });
  }
  each_chunk(a, 64, [&](std::size_t at) { checks.races.begin_async_read(at, 16); });
  each_chunk(b, own.columns, [&](std::size_t at) { checks.races.begin_async_read(at, 16); });

  Accumulator* accumulator = nullptr;
  for (const auto& known : own.accumulators) {
    if (known->registers == own.registers) accumulator = known.get();
  }
  if (accumulator != nullptr && accumulator->delivered != 0) fail("wgmma: some threads of the warpgroup have waited for the product before and some have not");
  if (accumulator == nullptr) {
    own.accumulators.push_back(std::make_unique<Accumulator>());
    accumulator = own.accumulators.back().get();
    accumulator->registers = own.registers;
    accumulator->columns = own.columns;
    accumulator->values.resize(static_cast<std::size_t>(64 * own.columns));
    each_register(own.columns, [&](std::int32_t t, std::int32_t r, std::int32_t row, std::int32_t column) {
      float& value = own.registers[static_cast<std::size_t>(t)][r];
      accumulator->values[static_cast<std::size_t>(row * own.columns + column)] = value;
      value = std::bit_cast<float>(poison);
    });
  }
  accumulator->last = static_cast<std::uint32_t>(own.products.size());
  own.products.push_back({own.a, own.b, own.elements, own.accumulate, own.columns, accumulator,
                          checks.clocks.product_issued(first_warpgroup_slot - warp_slots + warpgroup)});
}

void compute(Block& block, const Product& product, std::uint32_t warpgroup) {
  Scratch& s = scratch();
  const std::size_t a = tile_offset(product.a, 64, "A"), b = tile_offset(product.b, product.columns, "B");
  float* values = product.accumulator->values.data();
  const auto row_bytes = static_cast<std::size_t>(product.columns) * sizeof(float);
  for (std::int32_t i = 0; i < 64; ++i) {
    if (product.accumulate)
      std::memcpy(s.d[i], values + i * product.columns, row_bytes);
    else
      std::memset(s.d[i], 0, row_bytes);
  }
  multiply_tiles(product.elements, block.shared, a, b, product.columns);
  for (std::int32_t i = 0; i < 64; ++i) std::memcpy(values + i * product.columns, s.d[i], row_bytes);
  const auto who = static_cast<std::uint16_t>(engine | (first_warpgroup_slot + warpgroup));
  each_chunk(a, 64, [&](std::size_t at) { block.checks->races.end_async_read(at, 16, who, product.epoch); });
  each_chunk(b, product.columns, [&](std::size_t at) { block.checks->races.end_async_read(at, 16, who, product.epoch); });
}

void deliver(WarpgroupProducts& own, Accumulator& accumulator, std::size_t t) {
  ThreadProducts& mine = own.thread[t];
  float* registers = accumulator.registers[t];
  const std::int32_t count = accumulator.columns / 2;
  if (!poisoned(registers, count)) fail("wgmma_wait: the accumulator was written while a product on it was under way");
  for (std::int32_t r = 0; r < count; ++r) {
    const auto thread = static_cast<std::int32_t>(t);
    registers[r] = accumulator.values[static_cast<std::size_t>(row_of(thread, r % 4) * accumulator.columns + column_of(thread, r / 4, r % 4))];
  }
  accumulator.delivered_to[t] = true;
  ++accumulator.delivered;
  std::erase_if(mine.delivered, [&](const auto& known) { return known.registers == registers; });
  mine.delivered.push_back({registers, digest_of(registers, count)});
}

}  // namespace

std::uint64_t descriptor_of(const void* tile) {
  const std::size_t offset = shared_offset(tile, 32, 16);
  return (offset >> 4 & address_bits) | descriptor_rest;
}

void multiply_warpgroup(Elements elements, int columns, float* d, std::uint64_t a, std::uint64_t b, bool accumulate, Place place) {
  Thread& self = *current;
  Block& block = *self.block;
  WarpgroupProducts& own = own_products();
  const std::size_t t = self.number % 128;
  if (checking) {
    check_registers(own, t, d, columns);
    ++own.thread[t].issued;
  }
  if (own.arrived == 0) {
    own.line = place.line();
    own.columns = columns;
    own.a = a;
    own.b = b;
    own.elements = elements;
    own.accumulate = accumulate;
  } else if (own.columns != columns || own.a != a || own.b != b || own.elements != elements || own.accumulate != accumulate || own.line != place.line()) {
    fail("wgmma: the threads of the warpgroup give different operands or stand in different lines: divergent");
  }
  own.registers[t] = d;
  if (++own.arrived < 128) {
    own.waiting[self.warp % 4] |= 1u << self.lane;
    wait_here("wgmma", -1, place);
    return;
  }
  own.arrived = 0;
  if (checking) {
    issue(block, own);
  } else {
    multiply_now(block, own);
  }
  for (std::uint32_t w = 0; w < 4; ++w) {
    wake(block, self.warp / 4 * 4 + w, own.waiting[w]);
    own.waiting[w] = 0;
  }
}

void fence_products() { own_products().thread[current->number % 128].fenced = true; }

void commit_products() {
  ThreadProducts& mine = own_products().thread[current->number % 128];
  mine.groups.push_back(mine.issued);
}

void wait_products(std::size_t groups_in_flight) {
  Thread& self = *current;
  Block& block = *self.block;
  WarpgroupProducts& own = own_products();
  const std::size_t t = self.number % 128;
  ThreadProducts& mine = own.thread[t];
  const std::uint32_t committed = mine.groups.empty() ? static_cast<std::uint32_t>(own.computed) : mine.groups.back();
  if (mine.issued > committed) fail("wgmma_wait with products in no group: wgmma_commit is missing");
  if (mine.groups.size() <= groups_in_flight) return;
  const std::size_t over = mine.groups.size() - groups_in_flight;
  const std::uint32_t due = mine.groups[over - 1];
  mine.groups.erase(mine.groups.begin(), mine.groups.begin() + static_cast<std::ptrdiff_t>(over));
  for (; own.computed < due; ++own.computed) compute(block, own.products[own.computed], self.warp / 4);
  if (due != 0) block.checks->clocks.product_waited(self.warp / 4, own.products[due - 1].epoch, self.warp);
  for (const auto& accumulator : own.accumulators) {
    if (accumulator->last < due && !accumulator->delivered_to[t]) deliver(own, *accumulator, t);
  }
  std::erase_if(own.accumulators, [](const auto& accumulator) { return accumulator->delivered == 128; });
  mine.fenced = false;
}

void check_products_finished(const Thread& thread) {
  if (thread.warp / 4 >= 8) return;
  const ThreadProducts& mine = thread.block->products->warpgroup[thread.warp / 4].thread[thread.number % 128];
  if (mine.issued == 0) return;
  const WarpgroupProducts& own = thread.block->products->warpgroup[thread.warp / 4];
  if (!mine.groups.empty()) fail("returns before wgmma_wait for its last products");
  if (mine.issued > own.computed) fail("returns with products in no group: wgmma_commit is missing");
}

void set_registers(int registers) {
  WarpgroupProducts& own = own_products();
  own.register_limit = registers;
  const Block& block = *current->block;
  std::int64_t sum = 0;
  for (std::uint32_t w = 0; w < block.warps / 4; ++w) {
    const int limit = block.products->warpgroup[w].register_limit;
    if (limit == 0) return;
    sum += 128 * limit;
  }
  if (sum > 65536) fail("setmaxnreg: the warpgroups ask for " + std::to_string(sum) + " registers of 65536 in all");
}

}  // namespace signstep::sim
