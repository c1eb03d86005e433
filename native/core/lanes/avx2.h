// Eight lanes: AVX2. See scalar.h for what each operation means.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace signstep {
namespace {

struct Avx2 {
  static constexpr const char* kName = "avx2";
  static constexpr std::size_t kWidth = 8;
  using F = __m256;
  using I = __m256i;
  using M = __m256;  // all bits of a lane set, or none
  struct D {
    __m256d low, high;
  };

  static F load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, F a) { _mm256_storeu_ps(p, a); }
  static F set(float a) { return _mm256_set1_ps(a); }
  static F add(F a, F b) { return _mm256_add_ps(a, b); }
  static F sub(F a, F b) { return _mm256_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  static F div(F a, F b) { return _mm256_div_ps(a, b); }
  static F sqrt(F a) { return _mm256_sqrt_ps(a); }
  static F abs(F a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
  static F min(F a, F b) { return _mm256_min_ps(a, b); }
  static F max(F a, F b) { return _mm256_max_ps(a, b); }
  static M less(F a, F b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
  static M is_nan(F a) { return _mm256_cmp_ps(a, a, _CMP_UNORD_Q); }
  static M is_nonzero(F a) { return _mm256_cmp_ps(a, _mm256_setzero_ps(), _CMP_NEQ_UQ); }
  static F select(M m, F a, F b) { return _mm256_blendv_ps(b, a, m); }

  static I count_zero() { return _mm256_setzero_si256(); }
  static I count(I total, M m) { return _mm256_sub_epi32(total, _mm256_castps_si256(m)); }
  static std::int64_t count_sum(I total) {
    std::int32_t lane[kWidth];
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(lane), total);
    std::int64_t sum = 0;
    for (const std::int32_t value : lane) sum += value;
    return sum;
  }

  static I bits(F a) { return _mm256_castps_si256(a); }
  static F from_bits(I a) { return _mm256_castsi256_ps(a); }
  static I iset(std::int32_t a) { return _mm256_set1_epi32(a); }
  static I iadd(I a, I b) { return _mm256_add_epi32(a, b); }
  static I isub(I a, I b) { return _mm256_sub_epi32(a, b); }
  static I shift_left_23(I a) { return _mm256_slli_epi32(a, 23); }
  static I shift_right_23_signed(I a) { return _mm256_srai_epi32(a, 23); }
  static I shift_right_8(I a) { return _mm256_srli_epi32(a, 8); }
  static F to_float(I a) { return _mm256_cvtepi32_ps(a); }

  static I load_words(const std::uint32_t* words, std::size_t i) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words + i));
  }
  static I load_even_words(const std::uint32_t* words, std::size_t i) {
    return bits(_mm256_moveldup_ps(from_bits(load_words(words, i))));
  }
  static I load_odd_words(const std::uint32_t* words, std::size_t i) {
    return bits(_mm256_movehdup_ps(from_bits(load_words(words, i))));
  }
  static F quarter_at_odd(std::size_t) { return _mm256_setr_ps(0, 0.25f, 0, 0.25f, 0, 0.25f, 0, 0.25f); }

  static D widen(F a) {
    return {_mm256_cvtps_pd(_mm256_castps256_ps128(a)), _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1))};
  }
  static D dzero() { return {_mm256_setzero_pd(), _mm256_setzero_pd()}; }
  static D dadd(D a, D b) { return {_mm256_add_pd(a.low, b.low), _mm256_add_pd(a.high, b.high)}; }
  static D dsub(D a, D b) { return {_mm256_sub_pd(a.low, b.low), _mm256_sub_pd(a.high, b.high)}; }
  static D dmul(D a, D b) { return {_mm256_mul_pd(a.low, b.low), _mm256_mul_pd(a.high, b.high)}; }
  static void dstore(double* p, D a) {
    _mm256_storeu_pd(p, a.low);
    _mm256_storeu_pd(p + 4, a.high);
  }

  // Four blocks, one per 64-bit lane. The numbers are permuted so that store_blocks needs no shuffle across 128-bit lanes.
  using P = __m256i;
  static constexpr std::size_t kBlocks = 4;
  static P pset(std::uint32_t a) { return _mm256_set1_epi64x(a); }
  static P block_numbers(std::uint32_t first) { return _mm256_add_epi64(pset(first), _mm256_setr_epi64x(0, 2, 1, 3)); }
  static P multiply(P a, P b) { return _mm256_mul_epu32(a, b); }
  static P high(P a) { return _mm256_srli_epi64(a, 32); }
  static P xor3(P a, P b, P c) { return _mm256_xor_si256(_mm256_xor_si256(a, b), c); }
  static void store_blocks(std::uint32_t* out, P c0, P c1, P c2, P c3) {
    const P first = _mm256_blend_epi32(c0, _mm256_slli_epi64(c1, 32), 0xAA);
    const P second = _mm256_blend_epi32(c2, _mm256_slli_epi64(c3, 32), 0xAA);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_unpacklo_epi64(first, second));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 8), _mm256_unpackhi_epi64(first, second));
  }
};

}  // namespace
}  // namespace signstep
