// Barriers of block and warp, and the ways to wait for ever.
#include "kernel_case.h"

namespace {

using namespace kernel_case;
using namespace signstep::device;

// Rows handed from warp to warp through shared memory, `rounds` times.
__global__ void hand_on(int* out, int rounds) {
  Shared<int> box = shared_cast<int>(dynamic_shared());
  const int t = static_cast<int>(threadIdx.x), n = static_cast<int>(blockDim.x);
  int value = t + static_cast<int>(blockIdx.x) * 1000;
  for (int r = 0; r < rounds; r++) {
    box[t] = value;
    __syncthreads();
    value = box[(t + 32) % n] + 1;
    __syncthreads();
  }
  out[static_cast<int>(blockIdx.x) * n + t] = value;
}

// Two warps produce, two consume, with bar.arrive and bar.sync.
__global__ void produce_consume(int* out, int rounds, int consumers_wait) {
  Shared<int> box = shared_cast<int>(dynamic_shared());
  const int t = static_cast<int>(threadIdx.x);
  int sum = 0;
  for (int r = 0; r < rounds; r++) {
    if (t < 64) {
      if (r > 0) barrier_sync(2, 128);  // the box is free
      box[t] = r * t;
      barrier_arrive(1, 128);
    } else {
      if (consumers_wait) barrier_sync(1, 128);
      sum += box[127 - t];
      if (r + 1 < rounds) barrier_arrive(2, 128);
    }
  }
  if (t >= 64) out[t - 64] = sum;
}

__global__ void half_syncs(int*) {
  if (threadIdx.x < 16) __syncthreads();
  __syncwarp(threadIdx.x < 16 ? 0xFFFFu : ~0u);
}
__global__ void two_places(int* out) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    *out = 1;
    __syncthreads();
  }
}
__global__ void wrong_count(int*) { barrier_sync(3, 128); }
__global__ void other_counts(int*) { barrier_sync(3, threadIdx.x < 32 ? 64 : 32); }
__global__ void no_such_barrier(int*) { barrier_sync(16, 64); }
__global__ void odd_count(int*) { barrier_sync(1, 40); }
__global__ void some_return(int* out) {
  if (threadIdx.x < 32) return;
  __syncthreads();  // waits for the others only, as since compute capability 7.0
  out[threadIdx.x] = 1;
}

template <class... P>
std::string fault(void (*kernel)(P...)) {
  Array<int> out(64);
  return caught([&] { device::launch("planted", kernel, 1, 64, 512, nullptr, out.data()); });
}

}  // namespace

TEST("barriers order what warps hand to one another, in every schedule") {
  under_all_schedules([] {
    Array<int> out(5 * 96);
    device::launch("hand_on", hand_on, 5, 96, 96 * 4, nullptr, out.data(), 7);
    const std::vector<int> found = out.host();
    bool right = true;
    for (int i = 0; i < 5 * 96; i++) right = right && found[static_cast<std::size_t>(i)] == (i % 96 + 7 * 32) % 96 + i / 96 * 1000 + 7;
    EXPECT(right);
  });
}
TEST("bar.arrive lets a producer run on, bar.sync makes the consumer wait") {
  under_all_schedules([] {
    Array<int> out(64);
    device::launch("produce_consume", produce_consume, 1, 128, 256, nullptr, out.data(), 5, 1);
    const std::vector<int> found = out.host();
    bool right = true;
    for (int i = 0; i < 64; i++) right = right && found[static_cast<std::size_t>(i)] == 10 * (63 - i);
    EXPECT(right);
  });
}
TEST("a consumer that does not wait is found") {
  Array<int> out(64);
  EXPECT(says(caught([&] { device::launch("produce_consume", produce_consume, 1, 128, 256, nullptr, out.data(), 5, 0); }), "race"));
}
TEST("lanes of a warp at different barriers are a deadlock that names the lines") {
  const std::string message = fault(half_syncs);
  EXPECT(says(message, "deadlock"));
  EXPECT(says(message, "at __syncthreads (barriers_test.cc:"));
  EXPECT(says(message, "at __syncwarp (barriers_test.cc:"));
}
TEST("one __syncthreads in two places is divergent") { EXPECT(says(fault(two_places), "divergent")); }
TEST("a barrier that counts more threads than come is a deadlock or refused") { EXPECT(says(fault(wrong_count), "bar.sync 3")); }
TEST("threads that count a barrier differently are found") { EXPECT(says(fault(other_counts), "counts other threads")); }
TEST("barriers are 0 to 15 and count whole warps") {
  EXPECT(says(fault(no_such_barrier), "barrier 16 does not exist"));
  EXPECT(says(fault(odd_count), "not a multiple of 32"));
}
TEST("threads that have returned are not waited for") {
  under_all_schedules([] {
    Array<int> out(64);
    EXPECT(failure_of([&] { device::launch("some_return", some_return, 1, 64, 0, nullptr, out.data()); }).empty());
    EXPECT(out.host()[40] == 1);
  });
}
