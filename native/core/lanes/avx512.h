// Sixteen lanes: AVX-512 F, DQ, BW, VL. See scalar.h for what each operation means.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace signstep {
namespace {

struct Avx512 {
  static constexpr const char* kName = "avx512";
  static constexpr std::size_t kWidth = 16;
  using F = __m512;
  using I = __m512i;
  using M = __mmask16;
  struct D {
    __m512d low, high;
  };

  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, F a) { _mm512_storeu_ps(p, a); }
  static F set(float a) { return _mm512_set1_ps(a); }
  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F div(F a, F b) { return _mm512_div_ps(a, b); }
  static F sqrt(F a) { return _mm512_sqrt_ps(a); }
  static F abs(F a) { return _mm512_abs_ps(a); }
  static F min(F a, F b) { return _mm512_min_ps(a, b); }
  static F max(F a, F b) { return _mm512_max_ps(a, b); }
  static M less(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
  static M is_nan(F a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
  static M is_nonzero(F a) { return _mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_NEQ_UQ); }
  static F select(M m, F a, F b) { return _mm512_mask_blend_ps(m, b, a); }

  static I count_zero() { return _mm512_setzero_si512(); }
  static I count(I total, M m) { return _mm512_mask_add_epi32(total, m, total, _mm512_set1_epi32(1)); }
  static std::int64_t count_sum(I total) { return _mm512_reduce_add_epi32(total); }

  static I bits(F a) { return _mm512_castps_si512(a); }
  static F from_bits(I a) { return _mm512_castsi512_ps(a); }
  static I iset(std::int32_t a) { return _mm512_set1_epi32(a); }
  static I iadd(I a, I b) { return _mm512_add_epi32(a, b); }
  static I isub(I a, I b) { return _mm512_sub_epi32(a, b); }
  static I shift_left_23(I a) { return _mm512_slli_epi32(a, 23); }
  static I shift_right_23_signed(I a) { return _mm512_srai_epi32(a, 23); }
  static I shift_right_8(I a) { return _mm512_srli_epi32(a, 8); }
  static F to_float(I a) { return _mm512_cvtepi32_ps(a); }

  static I load_words(const std::uint32_t* words, std::size_t i) { return _mm512_loadu_si512(words + i); }
  static I load_even_words(const std::uint32_t* words, std::size_t i) {
    return bits(_mm512_moveldup_ps(from_bits(load_words(words, i))));
  }
  static I load_odd_words(const std::uint32_t* words, std::size_t i) {
    return bits(_mm512_movehdup_ps(from_bits(load_words(words, i))));
  }
  static F quarter_at_odd(std::size_t) { return _mm512_maskz_mov_ps(0xAAAA, _mm512_set1_ps(0.25f)); }

  static D widen(F a) {
    return {_mm512_cvtps_pd(_mm512_castps512_ps256(a)), _mm512_cvtps_pd(_mm512_extractf32x8_ps(a, 1))};
  }
  static D dzero() { return {_mm512_setzero_pd(), _mm512_setzero_pd()}; }
  static D dadd(D a, D b) { return {_mm512_add_pd(a.low, b.low), _mm512_add_pd(a.high, b.high)}; }
  static D dsub(D a, D b) { return {_mm512_sub_pd(a.low, b.low), _mm512_sub_pd(a.high, b.high)}; }
  static D dmul(D a, D b) { return {_mm512_mul_pd(a.low, b.low), _mm512_mul_pd(a.high, b.high)}; }
  static void dstore(double* p, D a) {
    _mm512_storeu_pd(p, a.low);
    _mm512_storeu_pd(p + 8, a.high);
  }

  // Eight blocks, one per 64-bit lane. The numbers are permuted so that store_blocks needs no shuffle across 128-bit lanes.
  using P = __m512i;
  static constexpr std::size_t kBlocks = 8;
  static P pset(std::uint32_t a) { return _mm512_set1_epi64(a); }
  static P block_numbers(std::uint32_t first) {
    return _mm512_add_epi64(pset(first), _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7));
  }
  static P multiply(P a, P b) { return _mm512_mul_epu32(a, b); }
  static P high(P a) { return _mm512_srli_epi64(a, 32); }
  static P xor3(P a, P b, P c) { return _mm512_ternarylogic_epi64(a, b, c, 0x96); }
  static void store_blocks(std::uint32_t* out, P c0, P c1, P c2, P c3) {
    const P first = _mm512_mask_shuffle_epi32(c0, 0xAAAA, c1, _MM_PERM_CCAA);
    const P second = _mm512_mask_shuffle_epi32(c2, 0xAAAA, c3, _MM_PERM_CCAA);
    _mm512_storeu_si512(out, _mm512_unpacklo_epi64(first, second));
    _mm512_storeu_si512(out + 16, _mm512_unpackhi_epi64(first, second));
  }
};

}  // namespace
}  // namespace signstep
