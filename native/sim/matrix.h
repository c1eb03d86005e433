// Matrix instructions of a warp: ldmatrix and mma.sync.
#pragma once

#include <cstdint>
#include <type_traits>

#include "numbers.h"
#include "shared.h"

namespace signstep::sim {

// Loads `matrices` 8x8 matrices of 16-bit elements; lane 8j+i gives the address of row i of matrix j.
void load_matrices(std::uint32_t* registers, int matrices, bool transposed, const void* row, Place place);

enum class Elements { bf16, f16, e4m3, tf32 };
void multiply(Elements elements, float* d, const std::uint32_t* a, const std::uint32_t* b, Place place);

}  // namespace signstep::sim

namespace signstep::device {

template <class T>
inline void ldmatrix_x4(std::uint32_t (&r)[4], Shared<T> row, sim::Place place = sim::Place::current()) {
  sim::load_matrices(r, 4, false, row.address(), place);
}
template <class T>
inline void ldmatrix_x4_trans(std::uint32_t (&r)[4], Shared<T> row, sim::Place place = sim::Place::current()) {
  sim::load_matrices(r, 4, true, row.address(), place);
}
template <class T>
inline void ldmatrix_x2(std::uint32_t (&r)[2], Shared<T> row, sim::Place place = sim::Place::current()) {
  sim::load_matrices(r, 2, false, row.address(), place);
}
template <class T>
inline void ldmatrix_x2_trans(std::uint32_t (&r)[2], Shared<T> row, sim::Place place = sim::Place::current()) {
  sim::load_matrices(r, 2, true, row.address(), place);
}

template <class T>
inline void mma_m16n8k16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], sim::Place place = sim::Place::current()) {
  static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, f16>);
  sim::multiply(std::is_same_v<T, bf16> ? sim::Elements::bf16 : sim::Elements::f16, d, a, b, place);
}
inline void mma_m16n8k32_e4m3(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                              sim::Place place = sim::Place::current()) {
  sim::multiply(sim::Elements::e4m3, d, a, b, place);
}
inline void mma_m16n8k8_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                             sim::Place place = sim::Place::current()) {
  sim::multiply(sim::Elements::tf32, d, a, b, place);
}

}  // namespace signstep::device
