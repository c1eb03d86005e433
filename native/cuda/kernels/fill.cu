// One value in every element, 16 bytes a thread.
#include "element.cuh"

namespace signstep::kernels {
namespace {

constexpr int kBlock = 256;

template <class T, int N>
__global__ void __launch_bounds__(kBlock) fill_kernel(T* out, const std::int64_t elements, const float value) {
  const std::int64_t at = (static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x) * N;
  float values[N];
#pragma unroll
  for (int i = 0; i < N; i++) values[i] = value;
  if (at + N <= elements) {
    store(out + at, values);
  } else {
    for (std::int64_t i = at; i < elements; i++) out[i] = from_float<T>(value);
  }
}

__global__ void __launch_bounds__(kBlock) fill_int32(std::int32_t* out, const std::int64_t elements, const std::int32_t value) {
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x;
  if (at < elements) out[at] = value;
}

template <class T>
void fill_as(void* data, std::int64_t elements, float value, rt::Stream stream) {
  T* out = static_cast<T*>(data);
  const bool wide = aligned16(out);
  launch("fill", wide ? fill_kernel<T, kWide<T>> : fill_kernel<T, 1>, dim3(blocks_for(elements, kBlock * (wide ? kWide<T> : 1))),
         dim3(kBlock), 0, stream, out, elements, value);
}

}  // namespace

void fill(Precision precision, Operand out, std::int64_t elements, float value, rt::Stream stream) {
  if (elements == 0) return;
  switch (out.type) {
    case program::ElementType::int32:
      launch("fill_int32", fill_int32, dim3(blocks_for(elements, kBlock)), dim3(kBlock), 0, stream, static_cast<std::int32_t*>(out.data),
             elements, static_cast<std::int32_t>(value));
      return;
    case program::ElementType::float32: return fill_as<float>(out.data, elements, value, stream);
    case program::ElementType::value:
      return with_element(precision, [&]<class T>(Element<T>) { fill_as<T>(out.data, elements, value, stream); });
  }
}

}  // namespace signstep::kernels
