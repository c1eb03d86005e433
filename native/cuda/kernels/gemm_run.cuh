// Runs of 8 consecutive columns of one row, the unit in which an epilogue reads and writes global memory: 16 bytes of a 16-bit type, 32 of
// float32. Where the row length or an address does not allow that, a run goes element by element.
#pragma once

#include "../ptx/device.h"

namespace signstep::kernels {
namespace {

using namespace signstep::device;

constexpr int kRun = 8;

// A run as it lies in memory: held in registers while what it will be added to is still being computed.
template <class T>
struct RawRun {
  std::uint32_t word[kRun * sizeof(T) / 4];
};

__device__ __forceinline__ void unpack_run(const RawRun<float>& raw, float (&v)[kRun]) {
#pragma unroll
  for (int i = 0; i < kRun; ++i) v[i] = __uint_as_float(raw.word[i]);
}

template <class T>
__device__ __forceinline__ void unpack_run(const RawRun<T>& raw, float (&v)[kRun]) {
#pragma unroll
  for (int i = 0; i < kRun / 2; ++i) {
    const float2 pair = unpack2<T>(raw.word[i]);
    v[2 * i] = pair.x;
    v[2 * i + 1] = pair.y;
  }
}

__device__ __forceinline__ RawRun<float> pack_run(const float (&v)[kRun], const float*) {
  RawRun<float> raw;
#pragma unroll
  for (int i = 0; i < kRun; ++i) raw.word[i] = __float_as_uint(v[i]);
  return raw;
}

template <class T>
__device__ __forceinline__ RawRun<T> pack_run(const float (&v)[kRun], const T*) {
  RawRun<T> raw;
#pragma unroll
  for (int i = 0; i < kRun / 2; ++i) raw.word[i] = pack2<T>(v[2 * i], v[2 * i + 1]);
  return raw;
}

// The first `count` elements at `from` (none where count <= 0), zeros after them.
template <class T>
__device__ __forceinline__ RawRun<T> load_run(const T* from, int count, bool vector) {
  RawRun<T> raw;
  if (vector) {
    const uint4* whole = reinterpret_cast<const uint4*>(from);
#pragma unroll
    for (int i = 0; i < static_cast<int>(sizeof(T)) / 2; ++i) {
      const uint4 part = count > 0 ? whole[i] : make_uint4(0, 0, 0, 0);
      raw.word[4 * i] = part.x;
      raw.word[4 * i + 1] = part.y;
      raw.word[4 * i + 2] = part.z;
      raw.word[4 * i + 3] = part.w;
    }
    return raw;
  }
  float v[kRun];
#pragma unroll
  for (int i = 0; i < kRun; ++i) v[i] = i < count ? to_float(from[i]) : 0.0f;
  return pack_run(v, from);
}

template <class T>
__device__ __forceinline__ void add_run(const RawRun<T>& raw, float (&v)[kRun]) {
  float other[kRun];
  unpack_run(raw, other);
#pragma unroll
  for (int i = 0; i < kRun; ++i) v[i] += other[i];
}

template <class T>
__device__ __forceinline__ void load_run(const T* from, int count, bool vector, float (&v)[kRun]) {
  unpack_run(load_run(from, count, vector), v);
}

// v = combine(v, what lies at `from`), four elements at a time: the kernels that hold 192 accumulators have no eight registers to spare.
template <class Combine>
__device__ __forceinline__ void combine_run(const float* from, int count, bool vector, float (&v)[kRun], Combine&& combine) {
  if (vector) {
#pragma unroll
    for (int i = 0; i < kRun; i += 4) {
      const float4 four = *reinterpret_cast<const float4*>(from + i);
      v[i] = combine(v[i], four.x);
      v[i + 1] = combine(v[i + 1], four.y);
      v[i + 2] = combine(v[i + 2], four.z);
      v[i + 3] = combine(v[i + 3], four.w);
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < kRun; ++i)
    if (i < count) v[i] = combine(v[i], from[i]);
}

template <class T>
__device__ __forceinline__ void store_run(T* to, int count, bool vector, const float (&v)[kRun]) {
  if (vector) {
    if (count <= 0) return;
    const RawRun<T> raw = pack_run(v, static_cast<const T*>(nullptr));
    uint4* whole = reinterpret_cast<uint4*>(to);
#pragma unroll
    for (int i = 0; i < static_cast<int>(sizeof(T)) / 2; ++i)
      whole[i] = make_uint4(raw.word[4 * i], raw.word[4 * i + 1], raw.word[4 * i + 2], raw.word[4 * i + 3]);
    return;
  }
#pragma unroll
  for (int i = 0; i < kRun; ++i)
    if (i < count) to[i] = from_float<T>(v[i]);
}

}  // namespace
}  // namespace signstep::kernels
