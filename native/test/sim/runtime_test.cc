// The simulated device: memory, streams, graphs, and launches that fail.
#include <cstdlib>
#include <thread>

#include "kernel_case.h"

namespace {

using namespace kernel_case;
using namespace signstep::device;

__global__ void add(int* values, int by, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) values[i] += by;
}
__global__ void where(int* out) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  out[block * blockDim.x * blockDim.y * blockDim.z + thread] = static_cast<int>(block * 1000 + thread);
}
__global__ void one_block_fails(int* out) {
  if (blockIdx.x == 3 && threadIdx.x == 5) shared_cast<int>(dynamic_shared())[-1] = 1;
  out[blockIdx.x] = 1;
}
__global__ void deep(float* out) {
  volatile float large[4096];
  for (int i = 0; i < 4096; i++) large[i] = static_cast<float>(i);
  __syncthreads();
  out[threadIdx.x] = large[4095 - threadIdx.x];
}

rt::Failure::Kind kind_of(void (*body)()) {
  try {
    body();
  } catch (const rt::Failure& failure) {
    return failure.kind;
  }
  return rt::Failure::Kind::internal;
}

}  // namespace

TEST("grids and blocks of three dimensions") {
  under_all_schedules([] {
    Array<int> out(24 * 64);
    device::launch("where", where, dim3(2, 3, 4), dim3(8, 4, 2), 0, nullptr, out.data());
    const std::vector<int> found = out.host();
    bool right = true;
    for (int i = 0; i < 24 * 64; i++) right = right && found[static_cast<std::size_t>(i)] == i / 64 * 1000 + i % 64;
    EXPECT(right);
  });
}
TEST("a graph replays what was captured, copies and fills among it, on two streams") {
  Array<int> values(std::vector<int>(100, 1)), other(100);
  rt::Stream one = rt::create_stream(), two = rt::create_stream();
  rt::Event fork = rt::create_event(), join = rt::create_event();
  rt::begin_capture(one);
  device::launch("add", add, 4, 32, 0, one, values.data(), 5, 100);
  rt::record(fork, one);
  rt::wait(two, fork);
  rt::copy(other.data(), values.data(), 400, two);
  rt::record(join, two);
  rt::wait(one, join);
  device::launch("add", add, 4, 32, 0, one, values.data(), 1, 50);
  const rt::Graph graph = rt::end_capture(one);
  EXPECT(values.host()[0] == 1);
  rt::launch(graph, one);
  rt::launch(graph, one);
  rt::synchronize(one);
  EXPECT(values.host()[0] == 13 && values.host()[99] == 11 && other.host()[0] == 12);
  EXPECT(rt::done(join) && rt::milliseconds(fork, join) >= 0);
  rt::destroy(graph);
  rt::destroy(fork);
  rt::destroy(join);
  rt::destroy(one);
  rt::destroy(two);
}
TEST("memory is counted, limited and poisoned") {
  const std::uint64_t before = rt::allocated_bytes();
  auto* memory = static_cast<unsigned char*>(rt::allocate(1000));
  EXPECT(rt::allocated_bytes() == before + 1000 && reinterpret_cast<std::uintptr_t>(memory) % 256 == 0 && memory[999] == 0xFF);
  rt::release(memory);
  rt::release(nullptr);
  EXPECT(rt::allocated_bytes() == before);
  setenv("SIGNSTEP_SIM_MEMORY", "100000", 1);
  EXPECT(rt::device_info(0).memory == 100000);
  EXPECT(kind_of([] { rt::allocate(100001); }) == rt::Failure::Kind::out_of_memory);
  unsetenv("SIGNSTEP_SIM_MEMORY");
  EXPECT(rt::allocated_bytes() == before);
  EXPECT(kind_of([] { int here; rt::release(&here); }) == rt::Failure::Kind::invalid);
}
TEST("the device says what it pretends to be") {
  EXPECT(rt::device_count() == 1 && rt::this_device().compute_capability == 90 && rt::this_device().multiprocessors > 0);
  setenv("SIGNSTEP_SIM_CAPABILITY", "80", 1);
  setenv("SIGNSTEP_SIM_DEVICES", "2", 1);
  rt::use_device(1);
  EXPECT(rt::device_count() == 2 && rt::this_device().compute_capability == 80);
  rt::use_device(0);
  unsetenv("SIGNSTEP_SIM_CAPABILITY");
  unsetenv("SIGNSTEP_SIM_DEVICES");
  EXPECT(kind_of([] { rt::use_device(1); }) == rt::Failure::Kind::invalid);
}
TEST("launches of a wrong shape are refused") {
  Array<int> out(4);
  const auto refused = [&](dim3 grid, dim3 block, std::size_t bytes, const char* why) {
    return says(failure_of([&] { device::launch("add", add, grid, block, bytes, nullptr, out.data(), 1, 4); }), why);
  };
  EXPECT(refused(1, 1056, 0, "add: a block of 1056 threads"));
  EXPECT(refused(1, 40, 0, "not a multiple of 32"));
  EXPECT(refused(0, 32, 0, "an empty grid"));
  EXPECT(refused(dim3(1, 65536), 32, 0, "65535"));
  EXPECT(refused(1, 32, 227 * 1024 + 1, "bytes of shared memory"));
}
TEST("a failed launch names the block and leaves the simulator usable") {
  for (int i = 0; i < 20; i++) {
    Array<int> out(40);
    sim::set_schedule({static_cast<std::uint32_t>(i), true});
    EXPECT(says(failure_of([&] { device::launch("fails", one_block_fails, 40, 64, 256, nullptr, out.data()); }), "fails: block (3,0,0), thread (5,0,0): "));
    Array<int> values(std::vector<int>(64, 1));
    EXPECT(failure_of([&] { device::launch("add", add, 2, 32, 256, nullptr, values.data(), 5, 64); }).empty());
    EXPECT(values.host()[63] == 6);
  }
  sim::set_schedule({});
}
TEST("launches of several host threads wait for one another") {
  Array<int> values(std::vector<int>(256, 0));
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; t++) {
    threads.emplace_back([&] {
      for (int i = 0; i < 25; i++) device::launch("add", add, 8, 32, 0, nullptr, values.data(), 1, 256);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT(values.host()[0] == 100 && values.host()[255] == 100);
}
TEST("kernels have room for local arrays, in the largest block") {
  under_all_schedules([] {
    Array<float> out(1024);
    device::launch("deep", deep, 2, 1024, 0, nullptr, out.data());
    EXPECT(out.host()[1000] == 3095);
  });
}
