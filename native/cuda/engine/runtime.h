// What the engine and the launchers need of a device: the CUDA runtime in one build (cuda_runtime.cc), the simulator in the other
// (native/sim/sim_runtime.cc). Nothing else in native/cuda calls either by name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace signstep::rt {

// Any failure of device or launch. `kind` tells the caller what can be done about it; lost: this process cannot use the device again.
struct Failure {
  enum class Kind { unavailable, out_of_memory, invalid, launch, lost, internal } kind;
  std::string message;
};

using Stream = struct StreamHandle*;  // nullptr: the default stream
using Event = struct EventHandle*;
using Graph = struct GraphHandle*;

struct DeviceInfo {
  char name[128];
  std::uint32_t compute_capability;  // 90 for 9.0; the simulator says what its kernels were built for
  std::uint32_t multiprocessors;
  std::uint64_t memory, free_memory;  // bytes
};

int device_count();           // 0 where there is none; why() then says the reason in a sentence
const std::string& why();
DeviceInfo device_info(int device);
void use_device(int device);  // for the calling thread
// Of the calling thread's device, read once and remembered (free_memory as it was then): what launchers choose kernels by.
const DeviceInfo& this_device();

void* allocate(std::size_t bytes);  // 256-byte aligned; throws out_of_memory. Contents poisoned on the simulator.
void release(void* pointer);        // nullptr is fine
std::uint64_t allocated_bytes();    // by this library, now
void* allocate_pinned(std::size_t bytes);
void release_pinned(void* pointer);

Stream create_stream();
void destroy(Stream stream);
void synchronize(Stream stream);  // throws what a kernel before failed with
Event create_event();
void destroy(Event event);
void record(Event event, Stream stream);
void wait(Stream stream, Event event);
bool done(Event event);
float milliseconds(Event from, Event to);

void upload(void* device, const void* host, std::size_t bytes, Stream stream);
void download(void* host, const void* device, std::size_t bytes, Stream stream);
void copy(void* to, const void* from, std::size_t bytes, Stream stream);
void fill(void* device, int byte, std::size_t bytes, Stream stream);

// Whether CUDA_LAUNCH_BLOCKING=1 asks for every kernel to be waited for, so that one that fails is told by its own launch. Without it a later
// call tells, and nothing knows which kernel it was.
bool launches_are_waited_for();

// The simulator's warp order and delivery of asynchronous copies (0: in order, at once); nothing on a GPU. For tests.
void set_schedule(std::uint32_t seed);

// Records what is launched on `stream` between the two calls, to be replayed as one.
void begin_capture(Stream stream);
Graph end_capture(Stream stream);
void launch(Graph graph, Stream stream);
void destroy(Graph graph);

}  // namespace signstep::rt
