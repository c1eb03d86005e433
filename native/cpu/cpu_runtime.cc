// The device runtime on the processor itself: memory is memory, a stream runs what it is given at once.
#include <cpuid.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "launch.h"
#include "signstep/signstep.h"

namespace signstep::rt {

struct StreamHandle {
  std::vector<std::function<void()>>* recording = nullptr;
};
struct EventHandle {
  std::chrono::steady_clock::time_point at;
};
struct GraphHandle {
  std::vector<std::function<void()>> work;
};

namespace {

struct Memory {
  std::mutex mutex;
  std::map<void*, std::size_t> sizes;
  std::uint64_t bytes = 0;
};
Memory& memory() {
  static auto* all = new Memory;  // outlives static objects that release memory
  return *all;
}

// Whole cache lines, and room for a vector load that begins at the last element.
constexpr std::size_t kAlignment = 256;

bool has_bf16_products() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d) == 0) return false;
  constexpr unsigned kAvx512Bf16 = 1u << 5;
  return (a & kAvx512Bf16) != 0 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

std::uint64_t pages(int what) {
  return static_cast<std::uint64_t>(std::max(0L, sysconf(what))) * static_cast<std::uint64_t>(std::max(0L, sysconf(_SC_PAGESIZE)));
}

}  // namespace

int device_count() {
  static const bool usable = has_bf16_products();
  return usable ? 1 : 0;
}

const std::string& why() {
  static const std::string reason = "this processor has no products of bf16 numbers (AVX512_BF16)";
  return reason;
}

DeviceInfo device_info(int device) {
  if (device_count() == 0) throw Failure{Failure::Kind::unavailable, why()};
  if (device != 0) throw Failure{Failure::Kind::invalid, "there is one processor, number 0; found " + std::to_string(device)};
  DeviceInfo info{};
  std::snprintf(info.name, sizeof info.name, "processor with AVX512_BF16");
  info.multiprocessors = ThreadPool::instance().threads();
  info.memory = pages(_SC_PHYS_PAGES);
  info.free_memory = pages(_SC_AVPHYS_PAGES);
  return info;
}

// The core library's number of threads is everybody's.
void use_device(int) {
  const std::uint32_t threads = signstep_get_api(SIGNSTEP_ABI_VERSION)->threads();
  if (ThreadPool::instance().threads() != threads) ThreadPool::instance().set_threads(threads);
}
const DeviceInfo& this_device() {
  static const DeviceInfo info = device_info(0);
  return info;
}

void* allocate(std::size_t bytes) {
  const std::size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  void* made = std::aligned_alloc(kAlignment, std::max(rounded, kAlignment));
  if (made == nullptr) throw Failure{Failure::Kind::out_of_memory, "out of memory: " + std::to_string(bytes) + " bytes"};
  Memory& all = memory();
  const std::lock_guard lock(all.mutex);
  all.sizes[made] = bytes;
  all.bytes += bytes;
  return made;
}

void release(void* pointer) {
  if (pointer == nullptr) return;
  Memory& all = memory();
  {
    const std::lock_guard lock(all.mutex);
    const auto found = all.sizes.find(pointer);
    if (found == all.sizes.end()) return;
    all.bytes -= found->second;
    all.sizes.erase(found);
  }
  std::free(pointer);
}

std::uint64_t allocated_bytes() {
  Memory& all = memory();
  const std::lock_guard lock(all.mutex);
  return all.bytes;
}

void* allocate_pinned(std::size_t bytes) { return allocate(bytes); }
void release_pinned(void* pointer) { release(pointer); }

Stream create_stream() { return new StreamHandle; }
void destroy(Stream stream) { delete stream; }
void synchronize(Stream) {}
Event create_event() { return new EventHandle; }
void destroy(Event event) { delete event; }
void record(Event event, Stream) { event->at = std::chrono::steady_clock::now(); }
void wait(Stream, Event) {}
bool done(Event) { return true; }
float milliseconds(Event from, Event to) { return std::chrono::duration<float, std::milli>(to->at - from->at).count(); }

void upload(void* device, const void* host, std::size_t bytes, Stream stream) { copy(device, host, bytes, stream); }
void download(void* host, const void* device, std::size_t bytes, Stream stream) { copy(host, device, bytes, stream); }
void copy(void* to, const void* from, std::size_t bytes, Stream stream) {
  if (bytes == 0) return;
  cpu::submit(stream, [=] {
    cpu::parallel_ranges(bytes, 1 << 18, [=](std::size_t first, std::size_t last) {
      std::memcpy(static_cast<std::byte*>(to) + first, static_cast<const std::byte*>(from) + first, last - first);
    });
  });
}
void fill(void* device, int byte, std::size_t bytes, Stream stream) {
  cpu::submit(stream, [=] { std::memset(device, byte, bytes); });
}

bool launches_are_waited_for() { return false; }  // they have ended when they return

void set_schedule(std::uint32_t) {}

void begin_capture(Stream stream) { stream->recording = new std::vector<std::function<void()>>; }
Graph end_capture(Stream stream) {
  auto* graph = new GraphHandle{std::move(*stream->recording)};
  delete std::exchange(stream->recording, nullptr);
  return graph;
}
void launch(Graph graph, Stream) {
  for (const auto& work : graph->work) work();
}
void destroy(Graph graph) { delete graph; }

}  // namespace signstep::rt

namespace signstep::cpu {

void submit(rt::Stream stream, std::function<void()> work) {
  if (stream != nullptr && stream->recording != nullptr)
    stream->recording->push_back(std::move(work));
  else
    work();
}

}  // namespace signstep::cpu
