// Bounds, alignment, poison and banks of shared memory.
#include <cmath>

#include "../../sim/statistics.h"
#include "kernel_case.h"

namespace {

using namespace kernel_case;
using namespace signstep::device;

__global__ void reads_at(float* out, int index) {
  Shared<float> p = shared_cast<float>(dynamic_shared());
  out[0] = p[index];
}
__global__ void writes_at(float*, int byte) { shared_cast<float4>(dynamic_shared() + byte)[0] = make_float4(1, 2, 3, 4); }
__global__ void loads_rows_at(float* out, int byte) {
  std::uint32_t r[4];
  Shared<bf16> p = shared_cast<bf16>(dynamic_shared());
  if (threadIdx.x == 0) {
    for (int i = 0; i < 512; i++) p[i] = from_float<bf16>(1);
  }
  __syncwarp();
  ldmatrix_x4(r, shared_cast<bf16>(dynamic_shared() + static_cast<int>(threadIdx.x) * 16 + byte));
  out[threadIdx.x] = unpack2<bf16>(r[0]).x;
}
// Column `stride` words apart: `stride` a power of two makes lanes meet in banks.
__global__ void strided(float* out, int stride) {
  Shared<float> p = shared_cast<float>(dynamic_shared());
  const int t = static_cast<int>(threadIdx.x);
  p[t * stride] = 1;
  __syncwarp();
  out[t] = p[t * stride];
}
__global__ void wide(float* out) {
  Shared<float4> p = shared_cast<float4>(dynamic_shared());
  p[threadIdx.x] = make_float4(1, 2, 3, 4);
  __syncwarp();
  const float4 v = p[threadIdx.x];
  out[threadIdx.x] = v.w;
}
// Rows of `row_bytes` read by ldmatrix: 128 puts all eight rows into the same banks, 144 spreads them.
__global__ void rows(float* out, int row_bytes) {
  Shared<std::uint8_t> p = dynamic_shared();
  const int t = static_cast<int>(threadIdx.x);
  shared_cast<uint4>(p + t * row_bytes)[0] = make_uint4(0, 0, 0, 0);
  __syncwarp();
  std::uint32_t r[4];
  ldmatrix_x4(r, shared_cast<bf16>(p + t * row_bytes));
  out[t] = __uint_as_float(r[0] + r[1] + r[2] + r[3]);
}

template <class K>
std::string fault(K kernel, int argument, std::size_t bytes = 64) {
  Array<float> out(64);
  return caught([&] { device::launch("planted", kernel, 1, 32, bytes, nullptr, out.data(), argument); });
}

sim::Statistics counted(const char* name) {
  const auto all = sim::take_statistics();
  const auto found = all.find(name);
  return found == all.end() ? sim::Statistics{} : found->second;
}

}  // namespace

TEST("shared memory that was never written reads as NaN") {
  under_all_schedules([] {
    Array<float> out(1);
    rt::fill(out.data(), 0, 4, nullptr);
    device::launch("reads_at", reads_at, 1, 32, 64, nullptr, out.data(), 3);
    EXPECT(std::isnan(out.host()[0]));
  });
}
TEST("accesses outside of shared memory are found") {
  EXPECT(says(fault(reads_at, 16), "out of shared memory: 4 bytes at offset 64 of 64"));
  EXPECT(says(fault(reads_at, -1), "out of shared memory: 4 bytes at offset -4 of 64"));
  EXPECT(says(fault(writes_at, 64), "out of shared memory"));
  EXPECT(says(fault(loads_rows_at, 16, 1024 - 512), "out of shared memory"));
}
TEST("misaligned accesses are found") {
  EXPECT(says(fault(writes_at, 8), "misaligned: 16 bytes at shared offset 8"));
  EXPECT(says(fault(loads_rows_at, 2, 2048), "misaligned: 16 bytes"));
}
TEST("the message names kernel, block and thread") {
  EXPECT(says(fault(reads_at, 16), "planted: block (0,0,0), thread ("));
}
TEST("bank conflicts are counted") {
  Array<float> out(32);
  sim::set_schedule({0, true});
  sim::take_statistics();
  device::launch("strided", strided, 1, 32, 32 * 33 * 4, nullptr, out.data(), 1);
  sim::Statistics found = counted("strided");
  EXPECT(found.loads == 1 && found.stores == 1 && found.load_conflicts == 0 && found.store_conflicts == 0);
  device::launch("strided", strided, 1, 32, 32 * 33 * 4, nullptr, out.data(), 32);
  found = counted("strided");
  EXPECT(found.load_conflicts == 31 && found.store_conflicts == 31);
  device::launch("strided", strided, 2, 32, 32 * 33 * 4, nullptr, out.data(), 8);
  found = counted("strided");
  EXPECT(found.blocks == 2 && found.load_conflicts == 14);
  device::launch("strided", strided, 1, 32, 32 * 33 * 4, nullptr, out.data(), 33);
  EXPECT(counted("strided").load_conflicts == 0);
  device::launch("wide", wide, 1, 32, 512, nullptr, out.data());
  EXPECT(counted("wide").load_conflicts == 0);
  device::launch("rows", rows, 1, 32, 32 * 144, nullptr, out.data(), 128);
  EXPECT(counted("rows").load_conflicts == 4 * 7);
  device::launch("rows", rows, 1, 32, 32 * 144, nullptr, out.data(), 144);
  EXPECT(counted("rows").load_conflicts == 0);
  sim::set_schedule({});
}
