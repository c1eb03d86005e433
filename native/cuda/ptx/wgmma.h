// wgmma: matrix products of a warpgroup (128 threads) from shared memory, asynchronous, and the division of registers between warpgroups.
#pragma once

#include <cstdint>
#include <type_traits>

#include "number_types.h"
#include "shared_memory.h"

namespace signstep::device {

// Of a tile stored K-major in the 128-byte swizzle: rows of 64 two-byte or 128 one-byte elements, 8 rows to an atom of 1024 bytes. The K-th step
// of 32 bytes inside a row is the descriptor of p + 16 K (e4m3: 32 K); 64 rows further is 64 * 128 bytes.
template <class T>
__device__ __forceinline__ std::uint64_t wgmma_descriptor(Shared<T> p) {
  constexpr std::uint64_t leading = 1ull << 16;          // unused with this swizzle
  constexpr std::uint64_t stride = (1024ull >> 4) << 32;  // between atoms of 8 rows
  constexpr std::uint64_t swizzle_128 = 1ull << 62;
  return ((shared_address(p) & 0x3FFFFu) >> 4) | leading | stride | swizzle_128;
}

// Before the first product, and after registers of an accumulator were written otherwise.
__device__ __forceinline__ void wgmma_fence() {
#if SIGNSTEP_HAS_SM90
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
__device__ __forceinline__ void wgmma_commit() {
#if SIGNSTEP_HAS_SM90
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
// Until at most N groups are under way. The accumulators of the others may then be read.
template <int N>
__device__ __forceinline__ void wgmma_wait() {
#if SIGNSTEP_HAS_SM90
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
#endif
}

// Registers of a thread from now on: a multiple of 8 between 24 and 256, executed by all warps of a warpgroup.
template <int N>
__device__ __forceinline__ void setmaxnreg_inc() {
#if SIGNSTEP_HAS_SM90
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
#endif
}
template <int N>
__device__ __forceinline__ void setmaxnreg_dec() {
#if SIGNSTEP_HAS_SM90
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
#endif
}

// The operand lists of inline PTX, in the pieces that the widths below are made of.
// clang-format off
#define SIGNSTEP_REGISTERS_0 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15" \
  ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define SIGNSTEP_REGISTERS_32 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define SIGNSTEP_REGISTERS_48 ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define SIGNSTEP_REGISTERS_64 ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79" \
  ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define SIGNSTEP_REGISTERS_96 ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111" \
  ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define SIGNSTEP_FOUR(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define SIGNSTEP_SIXTEEN(i) SIGNSTEP_FOUR(i), SIGNSTEP_FOUR(i + 4), SIGNSTEP_FOUR(i + 8), SIGNSTEP_FOUR(i + 12)
#define SIGNSTEP_WGMMA(N, TYPE, REGISTERS, A, B, ...) \
  asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE "." TYPE " {" REGISTERS "}, " A ", " B ", 1, 1, 1, 0, 0;" \
               : __VA_ARGS__ : "l"(a), "l"(b))
#define SIGNSTEP_WGMMA_OF(N, REGISTERS, A, B, ...) \
  if constexpr (std::is_same_v<T, bf16>) { \
    SIGNSTEP_WGMMA(N, "bf16", REGISTERS, A, B, __VA_ARGS__); \
  } else { \
    SIGNSTEP_WGMMA(N, "f16", REGISTERS, A, B, __VA_ARGS__); \
  }
// clang-format on

// d += A . B^T of a 64 x 16 tile A and an N x 16 tile B. In a warpgroup's thread t, d[4j + e] is row 16 (t / 32) + t % 32 / 4 + 8 (e / 2), column
// 8 j + 2 (t % 4) + e % 2. Not to be touched before wgmma_wait.
template <int N, class T>
__device__ __forceinline__ void wgmma_m64k16([[maybe_unused]] float (&d)[N / 2], [[maybe_unused]] std::uint64_t a, [[maybe_unused]] std::uint64_t b) {
  static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, f16>);
  static_assert(N == 64 || N == 96 || N == 128 || N == 192 || N == 256);
#if SIGNSTEP_HAS_SM90
  if constexpr (N == 64) {
    SIGNSTEP_WGMMA_OF(64, SIGNSTEP_REGISTERS_0, "%32", "%33", SIGNSTEP_SIXTEEN(0), SIGNSTEP_SIXTEEN(16))
  } else if constexpr (N == 96) {
    SIGNSTEP_WGMMA_OF(96, SIGNSTEP_REGISTERS_0 SIGNSTEP_REGISTERS_32, "%48", "%49", SIGNSTEP_SIXTEEN(0), SIGNSTEP_SIXTEEN(16), SIGNSTEP_SIXTEEN(32))
  } else if constexpr (N == 128) {
    SIGNSTEP_WGMMA_OF(128, SIGNSTEP_REGISTERS_0 SIGNSTEP_REGISTERS_32 SIGNSTEP_REGISTERS_48, "%64", "%65", SIGNSTEP_SIXTEEN(0), SIGNSTEP_SIXTEEN(16), SIGNSTEP_SIXTEEN(32), SIGNSTEP_SIXTEEN(48))
  } else if constexpr (N == 192) {
    SIGNSTEP_WGMMA_OF(192, SIGNSTEP_REGISTERS_0 SIGNSTEP_REGISTERS_32 SIGNSTEP_REGISTERS_48 SIGNSTEP_REGISTERS_64, "%96", "%97", SIGNSTEP_SIXTEEN(0), SIGNSTEP_SIXTEEN(16), SIGNSTEP_SIXTEEN(32), SIGNSTEP_SIXTEEN(48), SIGNSTEP_SIXTEEN(64), SIGNSTEP_SIXTEEN(80))
  } else if constexpr (N == 256) {
    SIGNSTEP_WGMMA_OF(256, SIGNSTEP_REGISTERS_0 SIGNSTEP_REGISTERS_32 SIGNSTEP_REGISTERS_48 SIGNSTEP_REGISTERS_64 SIGNSTEP_REGISTERS_96, "%128", "%129", SIGNSTEP_SIXTEEN(0), SIGNSTEP_SIXTEEN(16), SIGNSTEP_SIXTEEN(32), SIGNSTEP_SIXTEEN(48), SIGNSTEP_SIXTEEN(64), SIGNSTEP_SIXTEEN(80), SIGNSTEP_SIXTEEN(96), SIGNSTEP_SIXTEEN(112))
  }
#endif
}

// clang-format off
#define SIGNSTEP_WGMMA_E4M3(N, REGISTERS, A, B, ACCUMULATE, ...) \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " ACCUMULATE ", 0;\n" \
               "wgmma.mma_async.sync.aligned.m64n" #N "k32.f32.e4m3.e4m3 {" REGISTERS "}, " A ", " B ", p, 1, 1;\n}" \
               : __VA_ARGS__ : "l"(a), "l"(b), "r"(accumulate ? 1 : 0))
// clang-format on

// The same of a 64 x 32 tile A and an N x 32 tile B of e4m3; without `accumulate` d = A . B^T, whatever d held. What the sum keeps: as said at
// mma_m16n8k32_e4m3; DeepSeek-V3 (arXiv 2412.19437, 3.5.2) found 14 bits of each product.
template <int N>
__device__ __forceinline__ void wgmma_m64k32_e4m3([[maybe_unused]] float (&d)[N / 2], [[maybe_unused]] std::uint64_t a, [[maybe_unused]] std::uint64_t b,
                                                  [[maybe_unused]] bool accumulate) {
  static_assert(N == 64 || N == 128 || N == 192);
#if SIGNSTEP_HAS_SM90
  // clang-format off
  if constexpr (N == 64) {
    SIGNSTEP_WGMMA_E4M3(64, SIGNSTEP_REGISTERS_0, "%32", "%33", "%34", SIGNSTEP_SIXTEEN(0), SIGNSTEP_SIXTEEN(16));
  } else if constexpr (N == 128) {
    SIGNSTEP_WGMMA_E4M3(128, SIGNSTEP_REGISTERS_0 SIGNSTEP_REGISTERS_32 SIGNSTEP_REGISTERS_48, "%64", "%65", "%66", SIGNSTEP_SIXTEEN(0), SIGNSTEP_SIXTEEN(16), SIGNSTEP_SIXTEEN(32), SIGNSTEP_SIXTEEN(48));
  } else {
    SIGNSTEP_WGMMA_E4M3(192, SIGNSTEP_REGISTERS_0 SIGNSTEP_REGISTERS_32 SIGNSTEP_REGISTERS_48 SIGNSTEP_REGISTERS_64, "%96", "%97", "%98", SIGNSTEP_SIXTEEN(0), SIGNSTEP_SIXTEEN(16), SIGNSTEP_SIXTEEN(32), SIGNSTEP_SIXTEEN(48), SIGNSTEP_SIXTEEN(64), SIGNSTEP_SIXTEEN(80));
  }
  // clang-format on
#endif
}

#undef SIGNSTEP_REGISTERS_0
#undef SIGNSTEP_REGISTERS_32
#undef SIGNSTEP_REGISTERS_48
#undef SIGNSTEP_REGISTERS_64
#undef SIGNSTEP_REGISTERS_96
#undef SIGNSTEP_FOUR
#undef SIGNSTEP_SIXTEEN
#undef SIGNSTEP_WGMMA
#undef SIGNSTEP_WGMMA_OF
#undef SIGNSTEP_WGMMA_E4M3

}  // namespace signstep::device
