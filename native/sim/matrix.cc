#include "matrix.h"

#include <bit>
#include <cstring>

#include "checks.h"
#include "tma.h"

namespace signstep::sim {
namespace {

struct LoadOperand {
  std::uint32_t* registers;
  const void* row;
};

void count_conflicts(void* const* operands, std::size_t matrices) {
  const Block& block = *current->block;
  for (std::size_t j = 0; j < matrices; ++j) {
    std::size_t offsets[8];
    for (std::size_t i = 0; i < 8; ++i) {
      offsets[i] = static_cast<std::size_t>(static_cast<const std::byte*>(static_cast<const LoadOperand*>(operands[8 * j + i])->row) - block.shared);
    }
    block.checks->banks.rows(offsets);
  }
}

// Matrix j, row i comes from the address of lane 8j+i; lane l receives of each matrix the elements (l/4, 2(l%4)) and (l/4, 2(l%4)+1), or
// of its transpose.
template <int matrices, bool transposed>
void perform_load(void* const* operands, std::uint32_t) {
  if (checking) count_conflicts(operands, matrices);
  std::uint16_t rows[matrices][8][8];
  for (std::size_t j = 0; j < matrices; ++j) {
    for (std::size_t i = 0; i < 8; ++i) std::memcpy(rows[j][i], static_cast<const LoadOperand*>(operands[8 * j + i])->row, 16);
  }
  for (std::size_t lane = 0; lane < 32; ++lane) {
    std::uint32_t* out = static_cast<LoadOperand*>(operands[lane])->registers;
    const std::size_t r = lane / 4, c = lane % 4 * 2;
    for (std::size_t j = 0; j < matrices; ++j) {
      const std::uint32_t low = transposed ? rows[j][c][r] : rows[j][r][c];
      const std::uint32_t high = transposed ? rows[j][c + 1][r] : rows[j][r][c + 1];
      out[j] = low | high << 16;
    }
  }
}

struct MultiplyOperand {
  float* d;
  const std::uint32_t* a;
  const std::uint32_t* b;
};

using Four = float __attribute__((vector_size(16)));  // half the columns of a row of B or D: a register on every processor

template <Elements elements>
float element(std::uint32_t word, std::size_t part) {
  if constexpr (elements == Elements::tf32) {
    return std::bit_cast<float>(word & 0xFFFFE000u);  // the hardware reads 19 bits
  } else if constexpr (elements == Elements::e4m3) {
    return e4m3_to_float(static_cast<std::uint8_t>(word >> 8 * part));
  } else {
    const auto bits = static_cast<std::uint16_t>(part == 0 ? word : word >> 16);
    return elements == Elements::bf16 ? bf16_to_float(bits) : f16_to_float(bits);
  }
}

// Fragments as in the PTX manual, m16n8k16, m16n8k32 (e4m3) and m16n8k8 (tf32); g = lane / 4, t = lane % 4, `pack` elements in a register:
//   A: register 0: row g, columns pack*t..; 1: row g + 8; 2 and 3: the same rows, columns + 4*pack
//   B: register 0: rows pack*t.., column g; 1: rows + 4*pack          D: rows g, g + 8, columns 2t, 2t + 1
template <Elements elements>
void perform_multiply(void* const* operands, std::uint32_t) {
  constexpr std::size_t pack = elements == Elements::tf32 ? 1 : elements == Elements::e4m3 ? 4 : 2;
  constexpr std::size_t depth = 8 * pack;
  float a[16][depth];
  union {
    float at[depth][8];
    Four half[depth][2];
  } b;
  union {
    float at[16][8];
    Four half[16][2];
  } d;
  for (std::size_t lane = 0; lane < 32; ++lane) {
    const auto& own = *static_cast<const MultiplyOperand*>(operands[lane]);
    const std::size_t g = lane / 4, t = lane % 4;
#pragma GCC unroll 4
    for (std::size_t e = 0; e < pack; ++e) {
#pragma GCC unroll 4
      for (std::size_t r = 0; r < 4; ++r) a[g + r % 2 * 8][pack * t + r / 2 * 4 * pack + e] = element<elements>(own.a[r], e);
#pragma GCC unroll 2
      for (std::size_t r = 0; r < 2; ++r) b.at[pack * t + r * 4 * pack + e][g] = element<elements>(own.b[r], e);
    }
#pragma GCC unroll 4
    for (std::size_t e = 0; e < 4; ++e) d.at[g + e / 2 * 8][2 * t + e % 2] = own.d[e];
  }
  for (std::size_t i = 0; i < 16; i += 2) {  // two rows at a time hide the latency of the additions
    Four d00 = d.half[i][0], d01 = d.half[i][1], d10 = d.half[i + 1][0], d11 = d.half[i + 1][1];
#pragma GCC unroll 32
    for (std::size_t k = 0; k < depth; ++k) {
      d00 += a[i][k] * b.half[k][0];
      d01 += a[i][k] * b.half[k][1];
      d10 += a[i + 1][k] * b.half[k][0];
      d11 += a[i + 1][k] * b.half[k][1];
    }
    d.half[i][0] = d00;
    d.half[i][1] = d01;
    d.half[i + 1][0] = d10;
    d.half[i + 1][1] = d11;
  }
  for (std::size_t lane = 0; lane < 32; ++lane) {
    float* out = static_cast<const MultiplyOperand*>(operands[lane])->d;
    const std::size_t g = lane / 4, t = lane % 4;
#pragma GCC unroll 4
    for (std::size_t e = 0; e < 4; ++e) out[e] = d.at[g + e / 2 * 8][2 * t + e % 2];
  }
}

}  // namespace

void load_matrices(std::uint32_t* registers, int matrices, bool transposed, const void* row, Place place) {
  LoadOperand operand{registers, row};
  if (checking && current->lane < static_cast<std::uint32_t>(8 * matrices)) {
    current->block->checks->races.read(shared_offset(row, 16, 16), 16, current->number);
  }
  const Perform perform = matrices == 4 ? (transposed ? perform_load<4, true> : perform_load<4, false>)
                                        : (transposed ? perform_load<2, true> : perform_load<2, false>);
  meet(~0u, &operand, perform, "ldmatrix", place);
}

void multiply(Elements elements, float* d, const std::uint32_t* a, const std::uint32_t* b, Place place) {
  MultiplyOperand operand{d, a, b};
  const Perform perform = elements == Elements::bf16  ? perform_multiply<Elements::bf16>
                          : elements == Elements::f16  ? perform_multiply<Elements::f16>
                          : elements == Elements::e4m3 ? perform_multiply<Elements::e4m3>
                                                       : perform_multiply<Elements::tf32>;
  meet(~0u, &operand, perform, "mma.sync", place);
}

}  // namespace signstep::sim
