// Numbers of 16 and 8 bits and tf32, on the CPU: the roundings of the GPU's conversions.
#pragma once

#include <bit>
#include <cstdint>

#include "../cuda/ptx/number_types.h"
#include "shared.h"
#include "vector_types.h"

namespace signstep::sim {

inline float bf16_to_float(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

inline std::uint16_t float_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return 0x7FFF;  // the one NaN that cvt gives
  return static_cast<std::uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1)) >> 16);
}

inline float f16_to_float(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const std::uint32_t magnitude = half & 0x7FFFu;
  // Shifted into a float whose exponent is 112 too small, then scaled: exact, denormals included.
  const std::uint32_t wide = magnitude >= 0x7C00u ? (magnitude << 13) + (static_cast<std::uint32_t>(255 - 31) << 23)
                                                  : std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude << 13) * 0x1p112f);
  return std::bit_cast<float>(wide | sign);
}

inline std::uint16_t float_to_f16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return 0x7FFF;
  if (magnitude >= 0x477FF000u) return static_cast<std::uint16_t>(sign | 0x7C00u);  // 65520 and more round to infinity
  if (magnitude < 0x38800000u) {
    // Below 2^-14: adding 0.5 leaves the value in units of 2^-24 in the low bits, rounded to nearest even.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3F000000u));
  }
  const std::uint32_t rounded = magnitude + 0xFFFu + ((magnitude >> 13) & 1);
  return static_cast<std::uint16_t>(sign | ((rounded - (112u << 23)) >> 13));
}

inline float e4m3_to_float(std::uint8_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x80u) << 24;
  const std::uint32_t magnitude = bits & 0x7Fu;
  // Shifted into a float whose exponent is 120 too small, then scaled: exact, denormals included.
  const std::uint32_t wide = magnitude == 0x7Fu ? 0x7FC00000u : std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude << 20) * 0x1p120f);
  return std::bit_cast<float>(wide | sign);
}

// cvt.rn.satfinite.e4m3x2
inline std::uint8_t float_to_e4m3(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint8_t>((bits >> 24) & 0x80u);
  const std::uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return 0x7F;
  if (magnitude >= 0x43E00000u) return static_cast<std::uint8_t>(sign | 0x7Eu);  // 448 and more
  if (magnitude < 0x3C800000u) {
    // Below 2^-6: adding 2^14 leaves the value in units of 2^-9 in the low bits, rounded to nearest even.
    const float shifted = std::bit_cast<float>(magnitude) + 0x1p14f;
    return static_cast<std::uint8_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x46800000u));
  }
  const std::uint32_t rounded = magnitude + 0x7FFFFu + ((magnitude >> 20) & 1);
  return static_cast<std::uint8_t>(sign | ((rounded - (120u << 23)) >> 20));
}

// cvt.rna.tf32: 10 bits of mantissa, halves away from zero; infinities and NaN stay.
inline std::uint32_t float_to_tf32(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7F800000u) == 0x7F800000u) return bits;
  return (bits + 0x1000u) & 0xFFFFE000u;
}

}  // namespace signstep::sim

namespace signstep::device {

template <class T>
inline float to_float(T value);
template <>
inline float to_float<float>(float value) { return value; }
template <>
inline float to_float<bf16>(bf16 value) { return sim::bf16_to_float(value.bits); }
template <>
inline float to_float<f16>(f16 value) { return sim::f16_to_float(value.bits); }

// Of an element of shared memory.
template <class T>
inline float to_float(sim::Element<T>&& element) {
  return to_float<std::remove_const_t<T>>(element.load());
}

template <class T>
inline T from_float(float value);
template <>
inline float from_float<float>(float value) { return value; }
template <>
inline bf16 from_float<bf16>(float value) { return {sim::float_to_bf16(value)}; }
template <>
inline f16 from_float<f16>(float value) { return {sim::float_to_f16(value)}; }

template <class T>
inline std::uint32_t pack2(float low, float high) {
  return static_cast<std::uint32_t>(from_float<T>(low).bits) | static_cast<std::uint32_t>(from_float<T>(high).bits) << 16;
}
template <class T>
inline float2 unpack2(std::uint32_t pair) {
  return {to_float(T{static_cast<std::uint16_t>(pair)}), to_float(T{static_cast<std::uint16_t>(pair >> 16)})};
}
template <>
inline float to_float<e4m3>(e4m3 value) { return sim::e4m3_to_float(value.bits); }
inline std::uint32_t pack4_e4m3(float a, float b, float c, float d) {
  const auto byte = [](float value, int place) { return static_cast<std::uint32_t>(sim::float_to_e4m3(value)) << 8 * place; };
  return byte(a, 0) | byte(b, 1) | byte(c, 2) | byte(d, 3);
}
inline std::uint32_t to_tf32(float value) { return sim::float_to_tf32(value); }

}  // namespace signstep::device
