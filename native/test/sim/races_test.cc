// Accesses to shared memory that nothing orders.
#include "kernel_case.h"

namespace {

using namespace kernel_case;
using namespace signstep::device;

enum Bug { none, no_first_sync, no_second_sync, same_byte };

__global__ void transpose(int* out, int bug) {
  Shared<std::uint8_t> tile = dynamic_shared();
  const int t = static_cast<int>(threadIdx.x);
  for (int r = 0; r < 3; r++) {
    tile[t] = static_cast<std::uint8_t>(t + r);
    if (bug != no_first_sync) __syncthreads();
    out[r * 64 + t] = tile[63 - t];
    if (bug != no_second_sync) __syncthreads();
  }
  if (bug == same_byte) tile[t / 2] = 1;  // neighbours of one warp write one byte
}

// Lanes of one warp hand bytes on; the clean twin has a __syncwarp between.
__global__ void within_a_warp(int* out, int clean) {
  Shared<int> box = shared_cast<int>(dynamic_shared());
  const int lane = static_cast<int>(threadIdx.x);
  box[lane] = lane;
  if (clean) __syncwarp();
  out[lane] = box[31 - lane];
}

// Neighbouring bytes are different places: no race.
__global__ void neighbours(int* out) {
  Shared<std::uint8_t> bytes = dynamic_shared();
  const int t = static_cast<int>(threadIdx.x), n = static_cast<int>(blockDim.x);
  bytes[t % 2 * n / 2 + t / 2] = static_cast<std::uint8_t>(t);
  __syncthreads();
  out[t] = bytes[t];
}

__global__ void counts(int* out, int clean) {
  Shared<int> counter = shared_cast<int>(dynamic_shared());
  if (threadIdx.x == 0) counter[0] = 0;
  __syncthreads();
  atomicAdd(counter, 1);
  if (clean) __syncthreads();
  if (threadIdx.x == 63) *out = counter[0];
}

// Many read what one wrote, then another writes: it must know of all readers.
__global__ void many_readers(int* out, int clean) {
  Shared<int> value = shared_cast<int>(dynamic_shared());
  const int t = static_cast<int>(threadIdx.x);
  if (t == 0) value[0] = 7;
  __syncthreads();
  out[t] = value[0];
  if (t < 64 && !clean) barrier_sync(1, 64);  // warps 0 and 1 only; 2 and 3 may still read
  if (clean) __syncthreads();
  if (t == 0) value[0] = 8;
}

// The last block to finish sees what the others wrote.
__global__ void last_block(int* sums, int* done, int* total) {
  if (threadIdx.x == 0) sums[blockIdx.x] = static_cast<int>(blockIdx.x) + 1;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0 && atomicAdd(done, 1) == static_cast<int>(gridDim.x) - 1) {
    int sum = 0;
    for (unsigned i = 0; i < gridDim.x; i++) sum += sums[i];
    *total = sum;
  }
}

std::string fault_of_transpose(int bug) {
  Array<int> out(3 * 64);
  return caught([&] { device::launch("transpose", transpose, 2, 64, 64, nullptr, out.data(), bug); });
}

}  // namespace

TEST("reading what another warp writes with no barrier between is a race") { EXPECT(says(fault_of_transpose(no_first_sync), "race: ")); }
TEST("writing what another warp still reads is a race") { EXPECT(says(fault_of_transpose(no_second_sync), "race: ")); }
TEST("two lanes that write one byte are a race") { EXPECT(says(fault_of_transpose(same_byte), "race: writes shared byte")); }
TEST("with both barriers there is none, in every schedule") {
  under_all_schedules([] {
    Array<int> out(3 * 64);
    EXPECT(failure_of([&] { device::launch("transpose", transpose, 2, 64, 64, nullptr, out.data(), int{none}); }).empty());
    EXPECT(out.host()[64 + 5] == 59);
  });
}
TEST("lanes of a warp need a __syncwarp") {
  Array<int> out(32);
  EXPECT(says(caught([&] { device::launch("within_a_warp", within_a_warp, 1, 32, 128, nullptr, out.data(), 0); }), "race: "));
  under_all_schedules([&] {
    EXPECT(failure_of([&] { device::launch("within_a_warp", within_a_warp, 1, 32, 128, nullptr, out.data(), 1); }).empty());
    EXPECT(out.host()[4] == 27);
  });
}
TEST("neighbouring bytes do not race") {
  under_all_schedules([] {
    Array<int> out(64);
    EXPECT(failure_of([&] { device::launch("neighbours", neighbours, 1, 64, 64, nullptr, out.data()); }).empty());
    EXPECT(out.host()[33] == 3);
  });
}
TEST("atomics do not race with one another, but with a plain read") {
  Array<int> out(1);
  under_all_schedules([&] {
    EXPECT(failure_of([&] { device::launch("counts", counts, 1, 64, 4, nullptr, out.data(), 1); }).empty());
    EXPECT(out.host()[0] == 64);
  });
  EXPECT(says(caught([&] { device::launch("counts", counts, 1, 64, 4, nullptr, out.data(), 0); }), "race: "));
}
TEST("a write must be ordered after every reader") {
  Array<int> out(128);
  EXPECT(says(caught([&] { device::launch("many_readers", many_readers, 1, 128, 4, nullptr, out.data(), 0); }), "race: "));
  under_all_schedules([&] {
    EXPECT(failure_of([&] { device::launch("many_readers", many_readers, 1, 128, 4, nullptr, out.data(), 1); }).empty());
  });
}
TEST("atomics on global memory count across blocks on several processors") {
  under_all_schedules([] {
    Array<int> sums(50), total(1);
    Array<int> done(std::vector<int>{0});
    device::launch("last_block", last_block, 50, 64, 0, nullptr, sums.data(), done.data(), total.data());
    EXPECT(total.host()[0] == 50 * 51 / 2);
  });
}
