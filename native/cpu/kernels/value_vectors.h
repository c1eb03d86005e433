// Sixteen numbers of a precision, as float32 while they are computed with. A mask leaves out the lanes beyond the end of a row.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "../../cuda/kernels/kernels.h"
#include "avx512.h"

namespace signstep::cpu {

inline constexpr std::size_t kLanes = 16;

inline std::size_t round_up(std::size_t count, std::size_t to) { return (count + to - 1) / to * to; }

// The lanes of the vector that begins at element `at` of `count`.
inline __mmask16 lanes(std::size_t at, std::size_t count) {
  return count - at >= kLanes ? static_cast<__mmask16>(0xFFFF) : static_cast<__mmask16>((1u << (count - at)) - 1);
}

struct Bf16Values {
  using Stored = std::uint16_t;
  static __m512 widened(__m256i bits) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16)); }
  static __m256i narrowed(__m512 x) { return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)); }  // to nearest even
  static __m512 load(const Stored* from, __mmask16 mask) { return widened(_mm256_maskz_loadu_epi16(mask, from)); }
  // Stores under a mask are microcode on some of these processors.
  static void store(Stored* to, __mmask16 mask, __m512 x) {
    if (mask == 0xFFFF) return _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), narrowed(x));
    _mm256_mask_storeu_epi16(to, mask, narrowed(x));
  }
};

struct Float32Values {
  using Stored = float;
  static __m512 load(const Stored* from, __mmask16 mask) { return _mm512_maskz_loadu_ps(mask, from); }
  static void store(Stored* to, __mmask16 mask, __m512 x) {
    if (mask == 0xFFFF) return _mm512_storeu_ps(to, x);
    _mm512_mask_storeu_ps(to, mask, x);
  }
};

// Calls body(Bf16Values{}) or body(Float32Values{}); `who` names the operation that refuses another precision.
template <class Body>
void with_values(kernels::Precision precision, const char* who, const Body& body) {
  switch (precision) {
    case kernels::Precision::bf16: return body(Bf16Values{});
    case kernels::Precision::float32: return body(Float32Values{});
    default: throw rt::Failure{rt::Failure::Kind::invalid, std::string(who) + ": this processor computes in bf16 and float32, not in fp16"};
  }
}

}  // namespace signstep::cpu
