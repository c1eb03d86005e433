// The device runtime of the simulator: device memory is host memory, streams run at once, a graph is the list of what was recorded.
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "../cuda/engine/runtime.h"
#include "kernel_launch.h"
#include "schedule.h"

namespace signstep::rt {

using Recording = std::vector<std::function<void()>>;

struct StreamHandle {
  std::shared_ptr<Recording> recording;  // null: not capturing
};
struct EventHandle {
  std::chrono::steady_clock::time_point time;
  std::shared_ptr<Recording> recording;  // of the stream that recorded it while capturing
};
struct GraphHandle {
  std::shared_ptr<const Recording> recording;
};

namespace {

// What tests of the engine may ask of the pretended device.
std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  if (text == nullptr || *text == '\0') return otherwise;
  return std::strtoull(text, nullptr, 10);
}

std::uint64_t memory_limit() {
  const auto pages = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES));
  return number_from_environment("SIGNSTEP_SIM_MEMORY", pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)));
}

struct Allocations {
  std::mutex mutex;
  std::map<void*, std::size_t> sizes;
  std::uint64_t bytes = 0;
};
Allocations& allocations() {
  static auto* all = new Allocations;  // outlives static objects that release memory
  return *all;
}

void* aligned_memory(std::size_t bytes) {
  void* memory = nullptr;
  // Exactly the size asked for, so that AddressSanitizer sees the first byte beyond.
  if (posix_memalign(&memory, 256, bytes == 0 ? 1 : bytes) != 0) return nullptr;
  return memory;
}

}  // namespace

int device_count() { return static_cast<int>(number_from_environment("SIGNSTEP_SIM_DEVICES", 1)); }

const std::string& why() {
  static const std::string reason = "SIGNSTEP_SIM_DEVICES is 0";
  return reason;
}

DeviceInfo device_info(int device) {
  if (device < 0 || device >= device_count()) {
    throw Failure{Failure::Kind::invalid, "there is no simulated device " + std::to_string(device) + " (" + std::to_string(device_count()) + " in all)"};
  }
  DeviceInfo info{};
  std::snprintf(info.name, sizeof info.name, "CPU simulator of the CUDA kernels");
  info.compute_capability = static_cast<std::uint32_t>(number_from_environment("SIGNSTEP_SIM_CAPABILITY", 90));
  info.multiprocessors = 4;  // few, so that small tests make persistent kernels loop
  info.memory = memory_limit();
  const std::uint64_t used = allocated_bytes();
  info.free_memory = used < info.memory ? info.memory - used : 0;
  return info;
}

namespace {
thread_local int device_of_thread = 0;
}

void use_device(int device) {
  device_info(device);
  device_of_thread = device;
}

const DeviceInfo& this_device() {
  static thread_local DeviceInfo info;
  info = device_info(device_of_thread);  // anew: a test may have changed the capability
  return info;
}

void* allocate(std::size_t bytes) {
  Allocations& all = allocations();
  const std::lock_guard lock(all.mutex);
  void* memory = all.bytes + bytes > memory_limit() ? nullptr : aligned_memory(bytes);
  if (memory == nullptr) {
    throw Failure{Failure::Kind::out_of_memory, "out of memory: no room for " + std::to_string(bytes) + " bytes on the simulated device (" +
                                                    std::to_string(all.bytes) + " in use)"};
  }
  std::memset(memory, 0xFF, bytes);
  all.sizes[memory] = bytes;
  all.bytes += bytes;
  return memory;
}

void release(void* pointer) {
  if (pointer == nullptr) return;
  Allocations& all = allocations();
  const std::lock_guard lock(all.mutex);
  const auto found = all.sizes.find(pointer);
  if (found == all.sizes.end()) throw Failure{Failure::Kind::invalid, "release of memory that was not allocated on the device"};
  all.bytes -= found->second;
  all.sizes.erase(found);
  std::free(pointer);
}

std::uint64_t allocated_bytes() {
  Allocations& all = allocations();
  const std::lock_guard lock(all.mutex);
  return all.bytes;
}

void* allocate_pinned(std::size_t bytes) {
  void* memory = aligned_memory(bytes);
  if (memory == nullptr) throw Failure{Failure::Kind::out_of_memory, "out of memory: no room for " + std::to_string(bytes) + " bytes of pinned memory"};
  return memory;
}

void release_pinned(void* pointer) { std::free(pointer); }

Stream create_stream() { return new StreamHandle; }
void destroy(Stream stream) { delete stream; }

void synchronize(Stream stream) {
  if (stream != nullptr && stream->recording != nullptr) {
    throw Failure{Failure::Kind::invalid, "a stream cannot be waited for while it is captured"};
  }
}

Event create_event() { return new EventHandle{std::chrono::steady_clock::now(), nullptr}; }
void destroy(Event event) { delete event; }

void record(Event event, Stream stream) {
  event->recording = stream != nullptr ? stream->recording : nullptr;
  sim::submit(stream, [event] { event->time = std::chrono::steady_clock::now(); });
}

// Waiting for an event of a captured stream draws the waiting stream into the capture.
void wait(Stream stream, Event event) {
  if (event->recording == nullptr) return;
  if (stream == nullptr) throw Failure{Failure::Kind::invalid, "the default stream cannot take part in a capture"};
  stream->recording = event->recording;
}

bool done(Event) { return true; }

float milliseconds(Event from, Event to) { return std::chrono::duration<float, std::milli>(to->time - from->time).count(); }

void upload(void* device, const void* host, std::size_t bytes, Stream stream) { copy(device, host, bytes, stream); }
void download(void* host, const void* device, std::size_t bytes, Stream stream) { copy(host, device, bytes, stream); }

void copy(void* to, const void* from, std::size_t bytes, Stream stream) {
  if (bytes == 0) return;
  sim::submit(stream, [=] { std::memmove(to, from, bytes); });
}

void fill(void* device, int byte, std::size_t bytes, Stream stream) {
  if (bytes == 0) return;
  sim::submit(stream, [=] { std::memset(device, byte, bytes); });
}

bool launches_are_waited_for() {
  const char* const asked = std::getenv("CUDA_LAUNCH_BLOCKING");
  return asked != nullptr && std::strcmp(asked, "1") == 0;
}

void set_schedule(std::uint32_t seed) { sim::set_schedule({seed, seed != 0}); }

void begin_capture(Stream stream) {
  if (stream == nullptr) throw Failure{Failure::Kind::invalid, "the default stream cannot be captured"};
  if (stream->recording != nullptr) throw Failure{Failure::Kind::invalid, "the stream is being captured already"};
  stream->recording = std::make_shared<Recording>();
}

Graph end_capture(Stream stream) {
  if (stream == nullptr || stream->recording == nullptr) throw Failure{Failure::Kind::invalid, "no capture has been begun on this stream"};
  return new GraphHandle{std::exchange(stream->recording, nullptr)};
}

void launch(Graph graph, Stream stream) {
  sim::submit(stream, [recording = graph->recording] {
    for (const auto& work : *recording) work();
  });
}

void destroy(Graph graph) { delete graph; }

}  // namespace signstep::rt

namespace signstep::sim {

bool capturing(rt::Stream stream) { return stream != nullptr && stream->recording != nullptr; }

void submit(rt::Stream stream, std::function<void()> work) {
  if (capturing(stream)) {
    stream->recording->push_back(std::move(work));
  } else {
    work();
  }
}

}  // namespace signstep::sim
