// One lane at a time: the plain meaning of every operation that the other files in this folder do on many.
//
// F float32 lanes, I int32 lanes, M a mask, D as many float64 lanes as F, P the counter words of `kBlocks` Philox blocks. Functions of
// F are IEEE; min, max and select mean exactly what is written here. Everything in lanes/ and kernels/ is in an unnamed namespace:
// translation units compiled for different instruction sets must not share inline functions.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace signstep {
namespace {

struct Scalar {
  static constexpr const char* kName = "scalar";
  static constexpr std::size_t kWidth = 1;
  using F = float;
  using I = std::int32_t;
  using M = bool;
  using D = double;

  static F load(const float* p) { return *p; }
  static void store(float* p, F a) { *p = a; }
  static F set(float a) { return a; }
  static F add(F a, F b) { return a + b; }
  static F sub(F a, F b) { return a - b; }
  static F mul(F a, F b) { return a * b; }
  static F div(F a, F b) { return a / b; }
  static F sqrt(F a) { return __builtin_sqrtf(a); }
  static F abs(F a) { return __builtin_fabsf(a); }
  static F min(F a, F b) { return a < b ? a : b; }
  static F max(F a, F b) { return a > b ? a : b; }
  static M less(F a, F b) { return a < b; }
  static M is_nan(F a) { return a != a; }
  static M is_nonzero(F a) { return a != 0.0f; }  // true for NaN
  static F select(M m, F a, F b) { return m ? a : b; }

  static I count_zero() { return 0; }
  static I count(I total, M m) { return total + (m ? 1 : 0); }
  static std::int64_t count_sum(I total) { return total; }

  static I bits(F a) {
    I i;
    std::memcpy(&i, &a, sizeof i);
    return i;
  }
  static F from_bits(I a) {
    F f;
    std::memcpy(&f, &a, sizeof f);
    return f;
  }
  static I iset(std::int32_t a) { return a; }
  static I iadd(I a, I b) { return static_cast<I>(static_cast<std::uint32_t>(a) + static_cast<std::uint32_t>(b)); }
  static I isub(I a, I b) { return static_cast<I>(static_cast<std::uint32_t>(a) - static_cast<std::uint32_t>(b)); }
  static I shift_left_23(I a) { return static_cast<I>(static_cast<std::uint32_t>(a) << 23); }
  static I shift_right_23_signed(I a) { return a >> 23; }
  static I shift_right_8(I a) { return static_cast<I>(static_cast<std::uint32_t>(a) >> 8); }
  static F to_float(I a) { return static_cast<F>(a); }

  // Words i … i+kWidth-1 of a Philox buffer; the same with every pair (2k, 2k+1) replaced by its first, or second, word.
  static I load_words(const std::uint32_t* words, std::size_t i) { return static_cast<I>(words[i]); }
  static I load_even_words(const std::uint32_t* words, std::size_t i) { return static_cast<I>(words[i & ~std::size_t{1}]); }
  static I load_odd_words(const std::uint32_t* words, std::size_t i) { return static_cast<I>(words[i | 1]); }
  // 0 at even elements, 1/4 at odd ones.
  static F quarter_at_odd(std::size_t i) { return (i & 1) != 0 ? 0.25f : 0.0f; }

  static D widen(F a) { return a; }
  static D dzero() { return 0.0; }
  static D dadd(D a, D b) { return a + b; }
  static D dsub(D a, D b) { return a - b; }
  static D dmul(D a, D b) { return a * b; }
  static void dstore(double* p, D a) { *p = a; }

  // Only the low 32 bits of a counter word count; multiply() gives the full 64-bit product of the low halves.
  using P = std::uint64_t;
  static constexpr std::size_t kBlocks = 1;
  static P pset(std::uint32_t a) { return a; }
  static P block_numbers(std::uint32_t first) { return first; }
  static P multiply(P a, P b) { return (a & 0xFFFFFFFFu) * (b & 0xFFFFFFFFu); }
  static P high(P a) { return a >> 32; }
  static P xor3(P a, P b, P c) { return a ^ b ^ c; }
  static void store_blocks(std::uint32_t* out, P c0, P c1, P c2, P c3) {
    out[0] = static_cast<std::uint32_t>(c0);
    out[1] = static_cast<std::uint32_t>(c1);
    out[2] = static_cast<std::uint32_t>(c2);
    out[3] = static_cast<std::uint32_t>(c3);
  }
};

}  // namespace
}  // namespace signstep
