// wgmma: products of a warpgroup (128 threads) from shared memory. Checked launches compute at the wait, and until then the accumulators hold
// NaN: reading one too early shows, and so does a tile that was overwritten too early.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

#include "matrix.h"
#include "numbers.h"
#include "shared.h"

namespace signstep::sim {

// An accumulator in flight: the registers of all threads, and the values they will hold.
struct Accumulator {
  std::array<float*, 128> registers;
  std::int32_t columns;
  std::vector<float> values;  // [64, columns]
  std::uint32_t last = 0;     // number of the last product on it
  std::uint32_t delivered = 0;  // threads that have waited for it
  std::array<bool, 128> delivered_to = {};
};

struct Product {
  std::uint64_t a, b;
  Elements elements;
  bool accumulate;
  std::int32_t columns;
  Accumulator* accumulator;
  std::uint32_t epoch;
};

struct ThreadProducts {
  std::uint32_t issued = 0;             // products
  std::vector<std::uint32_t> groups;    // issued, at each commit not yet waited for
  bool fenced = false;                  // wgmma_fence since the last wait
  struct Delivered {
    const float* registers;
    std::uint64_t digest;
  };
  std::vector<Delivered> delivered;     // what a wait left in registers
};

struct WarpgroupProducts {
  // The meeting of its threads at a product
  std::uint32_t arrived = 0, line = 0;
  std::int32_t columns = 0;
  std::uint64_t a = 0, b = 0;
  Elements elements = Elements::bf16;
  bool accumulate = true;
  std::array<float*, 128> registers = {};
  std::array<std::uint32_t, 4> waiting = {};
  std::int32_t register_limit = 0;  // setmaxnreg; 0: not executed
  // While checking
  std::vector<Product> products;
  std::size_t computed = 0;  // of them
  std::vector<std::unique_ptr<Accumulator>> accumulators;
  std::array<ThreadProducts, 128> thread;
};

struct Products {
  std::array<WarpgroupProducts, 8> warpgroup;
  bool used = false;  // by the block that runs
};

std::uint64_t descriptor_of(const void* tile);
// d = A . B^T, added to d where `accumulate`.
void multiply_warpgroup(Elements elements, int columns, float* d, std::uint64_t a, std::uint64_t b, bool accumulate, Place place);
void fence_products();
void commit_products();
void wait_products(std::size_t groups_in_flight);
void check_products_finished(const Thread& thread);
void set_registers(int registers);

}  // namespace signstep::sim

namespace signstep::device {

// Of a tile stored K-major in the 128-byte swizzle: rows of 64 two-byte or 128 one-byte elements, 8 rows to an atom of 1024 bytes.
template <class T>
inline std::uint64_t wgmma_descriptor(Shared<T> p) {
  static_assert(sizeof(T) <= 2);
  return sim::descriptor_of(p.address());
}
inline void wgmma_fence() {
  if (sim::checking) [[unlikely]] sim::fence_products();
}
inline void wgmma_commit() {
  if (sim::checking) [[unlikely]] sim::commit_products();
}
template <int N>
inline void wgmma_wait() {
  static_assert(N >= 0 && N <= 7);
  if (sim::checking) [[unlikely]] sim::wait_products(N);
}
template <int N, class T>
inline void wgmma_m64k16(float (&d)[N / 2], std::uint64_t a, std::uint64_t b, sim::Place place = sim::Place::current()) {
  static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, f16>);
  static_assert(N == 64 || N == 96 || N == 128 || N == 192 || N == 256);
  sim::multiply_warpgroup(std::is_same_v<T, bf16> ? sim::Elements::bf16 : sim::Elements::f16, N, d, a, b, true, place);
}
template <int N>
inline void wgmma_m64k32_e4m3(float (&d)[N / 2], std::uint64_t a, std::uint64_t b, bool accumulate, sim::Place place = sim::Place::current()) {
  static_assert(N == 64 || N == 128 || N == 192);
  sim::multiply_warpgroup(sim::Elements::e4m3, N, d, a, b, accumulate, place);
}
template <int N>
inline void setmaxnreg_inc() {
  static_assert(N >= 24 && N <= 256 && N % 8 == 0);
  sim::set_registers(N);
}
template <int N>
inline void setmaxnreg_dec() {
  static_assert(N >= 24 && N <= 256 && N % 8 == 0);
  sim::set_registers(N);
}

}  // namespace signstep::device
