// The conversions of 16 and 8 bits, every value of them, and the arithmetic that must not be contracted.
#include <cfenv>
#include <cmath>
#include <random>

#include "kernel_case.h"

namespace {

using namespace signstep::device;

double value_of_f16(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  const double magnitude = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}
bool is_nan(std::uint16_t bits, std::uint16_t infinity) { return (bits & 0x7FFF) > infinity; }

// Between two neighbours that T holds: the nearer, at the middle the even one.
template <class T>
bool rounds_to_nearest_even(std::uint16_t bits, std::uint16_t infinity) {
  if ((bits & 0x7FFF) >= infinity - 1) return true;
  const T low{bits}, high{static_cast<std::uint16_t>(bits + 1)};
  const float a = to_float(low), b = to_float(high);
  const auto middle = static_cast<float>((static_cast<double>(a) + b) / 2);
  const T even = (bits & 1) == 0 ? low : high;
  return from_float<T>(middle).bits == even.bits && from_float<T>(std::nextafterf(middle, a)).bits == low.bits &&
         from_float<T>(std::nextafterf(middle, b)).bits == high.bits;
}

}  // namespace

TEST("every bf16 and fp16 value converts to float and back") {
  bool right = true;
  for (std::uint32_t i = 0; i < 65536; i++) {
    const auto bits = static_cast<std::uint16_t>(i);
    if (is_nan(bits, 0x7F80)) {
      right = right && std::isnan(to_float(bf16{bits})) && from_float<bf16>(to_float(bf16{bits})).bits == 0x7FFF;
    } else {
      right = right && from_float<bf16>(to_float(bf16{bits})).bits == bits;
    }
    if (is_nan(bits, 0x7C00)) {
      right = right && std::isnan(to_float(f16{bits})) && from_float<f16>(to_float(f16{bits})).bits == 0x7FFF;
    } else {
      right = right && from_float<f16>(to_float(f16{bits})).bits == bits;
      if ((bits & 0x7FFF) < 0x7C00) right = right && static_cast<double>(to_float(f16{bits})) == value_of_f16(bits);
    }
  }
  EXPECT(right);
}
TEST("conversions round to nearest, halves to even, and overflow to infinity") {
  bool right = true;
  for (std::uint32_t i = 0; i < 65536; i++) {
    const auto bits = static_cast<std::uint16_t>(i);
    right = right && rounds_to_nearest_even<bf16>(bits, 0x7F80) && rounds_to_nearest_even<f16>(bits, 0x7C00);
  }
  EXPECT(right);
  EXPECT(from_float<f16>(65519.996f).bits == 0x7BFF && from_float<f16>(65520.0f).bits == 0x7C00 && from_float<f16>(-1e30f).bits == 0xFC00);
  EXPECT(from_float<bf16>(3.4e38f).bits == 0x7F80 && from_float<f16>(-0.0f).bits == 0x8000 && from_float<f16>(1e-9f).bits == 0);
}
TEST("every e4m3 value converts to float and back; what is between rounds to nearest even, beyond 448 to 448") {
  const auto value = [](std::uint32_t bits) { return to_float(e4m3{static_cast<std::uint8_t>(bits)}); };
  const auto rounded = [](float x) { return pack4_e4m3(x, 0, 0, 0); };
  bool right = true;
  for (std::uint32_t bits = 0; bits < 0x7F; bits++) {
    const std::uint32_t exponent = bits >> 3, mantissa = bits & 7;
    const double exact = exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, static_cast<int>(exponent) - 10);
    right = right && static_cast<double>(value(bits)) == exact && static_cast<double>(value(bits | 0x80)) == -exact;
    right = right && rounded(value(bits)) == bits && rounded(value(bits | 0x80)) == (bits | 0x80);
    if (bits == 0x7E) break;
    const float middle = (value(bits) + value(bits + 1)) / 2;
    right = right && rounded(middle) == bits + (bits & 1) && rounded(std::nextafterf(middle, 0)) == bits && rounded(std::nextafterf(middle, 500)) == bits + 1;
  }
  EXPECT(right);
  EXPECT(std::isnan(value(0x7F)) && std::isnan(value(0xFF)) && (rounded(NAN) & 0x7F) == 0x7F && (rounded(-NAN) & 0x7F) == 0x7F);
  EXPECT(rounded(449) == 0x7E && rounded(1e30f) == 0x7E && rounded(INFINITY) == 0x7E && rounded(-INFINITY) == 0xFE && rounded(1e-30f) == 0);
  EXPECT(pack4_e4m3(1, -2, 0.5f, 448) == 0x7E30C038u);
}
TEST("pairs are packed with the first in the low half") {
  EXPECT(pack2<bf16>(1, -2) == 0xC0003F80u && pack2<f16>(1, -2) == 0xC0003C00u);
  EXPECT(unpack2<f16>(0xC0003C00u).x == 1 && unpack2<bf16>(0xC0003F80u).y == -2);
}
TEST("tf32 keeps ten bits, halves away from zero") {
  EXPECT(to_tf32(1.0f) == 0x3F800000u && to_tf32(__uint_as_float(0x3F801000u)) == 0x3F802000u && to_tf32(__uint_as_float(0xBF800FFFu)) == 0xBF800000u);
  EXPECT(std::isinf(__uint_as_float(to_tf32(INFINITY))) && std::isnan(__uint_as_float(to_tf32(NAN))));
}
TEST("products and sums written to be rounded are never contracted") {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  bool right = true;
  for (int i = 0; i < 1000; i++) {
    const float a = normal(random), b = normal(random), c = normal(random);
    volatile float product = a * b;
    volatile float sum = product + c;
    right = right && __fadd_rn(__fmul_rn(a, b), c) == sum;
  }
  EXPECT(right);
}
TEST("integers round and saturate as on the GPU") {
  EXPECT(__float2int_rn(2.5f) == 2 && __float2int_rn(-3.5f) == -4 && __float2int_rn(1e20f) == 2147483647 && __float2int_rn(-1e20f) == -2147483647 - 1);
  EXPECT(__float2int_rn(NAN) == 0 && __ffs(0) == 0 && __ffs(8) == 4 && __clz(1) == 31 && __clz(0) == 32 && __popc(0xF0Fu) == 8);
  EXPECT(__umulhi(0xFFFFFFFFu, 0xFFFFFFFFu) == 0xFFFFFFFEu);
}
