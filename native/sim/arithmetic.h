// Arithmetic that CUDA C++ has beyond the C library. The fast functions are the exact ones here: a kernel must tolerate both.
#pragma once

#include <math.h>

#include <bit>
#include <cstdint>
#include <type_traits>

namespace signstep::sim {

// Hides a value from the optimiser: what was computed before it is rounded and never contracted into a fused multiply-add.
template <class T>
inline T rounded(T value) {
#if defined(__x86_64__)
  __asm__("" : "+x"(value));
#elif defined(__aarch64__)
  __asm__("" : "+w"(value));
#else
  volatile T kept = value;
  value = kept;
#endif
  return value;
}

}  // namespace signstep::sim

namespace signstep::device {

inline float __expf(float x) { return ::expf(x); }
inline float __logf(float x) { return ::logf(x); }
inline float fast_exp2(float x) { return ::exp2f(x); }
inline float rsqrtf(float x) { return 1.0f / ::sqrtf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float x) { return 1.0f / x; }

inline float __fmul_rn(float a, float b) { return sim::rounded(a * b); }
inline float __fadd_rn(float a, float b) { return sim::rounded(a + b); }
inline float __fsub_rn(float a, float b) { return sim::rounded(a - b); }
inline float __fdiv_rn(float a, float b) { return sim::rounded(a / b); }
inline float __fsqrt_rn(float x) { return sim::rounded(::sqrtf(x)); }
inline float __fmaf_rn(float a, float b, float c) { return ::fmaf(a, b, c); }
inline double __dmul_rn(double a, double b) { return sim::rounded(a * b); }
inline double __dadd_rn(double a, double b) { return sim::rounded(a + b); }
inline double __dsub_rn(double a, double b) { return sim::rounded(a - b); }
inline double __ddiv_rn(double a, double b) { return sim::rounded(a / b); }
inline double __dsqrt_rn(double x) { return sim::rounded(::sqrt(x)); }

inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }

// Saturates as the GPU does; NaN gives 0.
inline int __float2int_rn(float x) {
  if (!(x == x)) return 0;
  const float whole = ::rintf(x);
  if (whole >= 2147483648.0f) return 2147483647;
  if (whole < -2147483648.0f) return -2147483647 - 1;
  return static_cast<int>(whole);
}
inline int __float2int_rz(float x) { return __float2int_rn(::truncf(x)); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }

inline int __popc(unsigned x) { return std::popcount(x); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1; }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline unsigned __brev(unsigned x) {
  unsigned out = 0;
  for (int i = 0; i < 32; ++i) out |= ((x >> i) & 1u) << (31 - i);
  return out;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(std::uint64_t{a} * b >> 32); }

template <class A, class B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  using C = std::common_type_t<A, B>;
  return static_cast<C>(b) < static_cast<C>(a) ? static_cast<C>(b) : static_cast<C>(a);
}
template <class A, class B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  using C = std::common_type_t<A, B>;
  return static_cast<C>(a) < static_cast<C>(b) ? static_cast<C>(b) : static_cast<C>(a);
}

}  // namespace signstep::device
