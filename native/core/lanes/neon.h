// Four lanes: AArch64 Advanced SIMD. See scalar.h for what each operation means.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

namespace signstep {
namespace {

struct Neon {
  static constexpr const char* kName = "neon";
  static constexpr std::size_t kWidth = 4;
  using F = float32x4_t;
  using I = int32x4_t;
  using M = uint32x4_t;  // all bits of a lane set, or none
  struct D {
    float64x2_t low, high;
  };

  static F load(const float* p) { return vld1q_f32(p); }
  static void store(float* p, F a) { vst1q_f32(p, a); }
  static F set(float a) { return vdupq_n_f32(a); }
  static F add(F a, F b) { return vaddq_f32(a, b); }
  static F sub(F a, F b) { return vsubq_f32(a, b); }
  static F mul(F a, F b) { return vmulq_f32(a, b); }
  static F div(F a, F b) { return vdivq_f32(a, b); }
  static F sqrt(F a) { return vsqrtq_f32(a); }
  static F abs(F a) { return vabsq_f32(a); }
  // Not vminq and vmaxq: they treat NaN and signed zeros otherwise than `a < b ? a : b`.
  static F min(F a, F b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
  static F max(F a, F b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
  static M less(F a, F b) { return vcltq_f32(a, b); }
  static M is_nan(F a) { return vmvnq_u32(vceqq_f32(a, a)); }
  static M is_nonzero(F a) { return vmvnq_u32(vceqzq_f32(a)); }
  static F select(M m, F a, F b) { return vbslq_f32(m, a, b); }

  static I count_zero() { return vdupq_n_s32(0); }
  static I count(I total, M m) { return vsubq_s32(total, vreinterpretq_s32_u32(m)); }
  static std::int64_t count_sum(I total) { return vaddlvq_s32(total); }

  static I bits(F a) { return vreinterpretq_s32_f32(a); }
  static F from_bits(I a) { return vreinterpretq_f32_s32(a); }
  static I iset(std::int32_t a) { return vdupq_n_s32(a); }
  static I iadd(I a, I b) { return vaddq_s32(a, b); }
  static I isub(I a, I b) { return vsubq_s32(a, b); }
  static I shift_left_23(I a) { return vshlq_n_s32(a, 23); }
  static I shift_right_23_signed(I a) { return vshrq_n_s32(a, 23); }
  static I shift_right_8(I a) { return vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(a), 8)); }
  static F to_float(I a) { return vcvtq_f32_s32(a); }

  static I load_words(const std::uint32_t* words, std::size_t i) { return vreinterpretq_s32_u32(vld1q_u32(words + i)); }
  static I load_even_words(const std::uint32_t* words, std::size_t i) {
    const I a = load_words(words, i);
    return vtrn1q_s32(a, a);
  }
  static I load_odd_words(const std::uint32_t* words, std::size_t i) {
    const I a = load_words(words, i);
    return vtrn2q_s32(a, a);
  }
  static F quarter_at_odd(std::size_t) { return F{0, 0.25f, 0, 0.25f}; }

  static D widen(F a) { return {vcvt_f64_f32(vget_low_f32(a)), vcvt_high_f64_f32(a)}; }
  static D dzero() { return {vdupq_n_f64(0), vdupq_n_f64(0)}; }
  static D dadd(D a, D b) { return {vaddq_f64(a.low, b.low), vaddq_f64(a.high, b.high)}; }
  static D dsub(D a, D b) { return {vsubq_f64(a.low, b.low), vsubq_f64(a.high, b.high)}; }
  static D dmul(D a, D b) { return {vmulq_f64(a.low, b.low), vmulq_f64(a.high, b.high)}; }
  static void dstore(double* p, D a) {
    vst1q_f64(p, a.low);
    vst1q_f64(p + 2, a.high);
  }

  // Two blocks, one per 64-bit lane.
  using P = uint64x2_t;
  static constexpr std::size_t kBlocks = 2;
  static P pset(std::uint32_t a) { return vdupq_n_u64(a); }
  static P block_numbers(std::uint32_t first) { return vaddq_u64(pset(first), P{0, 1}); }
  static P multiply(P a, P b) { return vmull_u32(vmovn_u64(a), vmovn_u64(b)); }
  static P high(P a) { return vshrq_n_u64(a, 32); }
  static P xor3(P a, P b, P c) { return veorq_u64(veorq_u64(a, b), c); }
  static void store_blocks(std::uint32_t* out, P c0, P c1, P c2, P c3) {
    // Insert the low half of c1 above that of c0: one shift-left-insert per pair of words.
    const P first = vsliq_n_u64(c0, c1, 32);
    const P second = vsliq_n_u64(c2, c3, 32);
    vst1q_u32(out, vreinterpretq_u32_u64(vzip1q_u64(first, second)));
    vst1q_u32(out + 4, vreinterpretq_u32_u64(vzip2q_u64(first, second)));
  }
};

}  // namespace
}  // namespace signstep
