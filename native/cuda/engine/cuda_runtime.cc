// The device runtime on CUDA: static cudart, and of the driver only what it hands out at run time, so that the library also loads where
// there is no driver.
#include <cuda.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

#include "../ptx/kernel_launch.h"
#include "../ptx/tensor_map.h"
#include "runtime.h"

namespace signstep::rt {
namespace {

Failure::Kind kind_of(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation: return Failure::Kind::out_of_memory;
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorDevicesUnavailable: return Failure::Kind::unavailable;
    case cudaErrorInvalidValue:
    case cudaErrorInvalidDevice:
    case cudaErrorStreamCaptureUnsupported:
    case cudaErrorStreamCaptureInvalidated: return Failure::Kind::invalid;
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorInvalidConfiguration:
    case cudaErrorInvalidDeviceFunction:
    case cudaErrorLaunchOutOfResources: return Failure::Kind::launch;
    // CUDA gives these again to every call until the process ends.
    case cudaErrorAssert:
    case cudaErrorContained:
    case cudaErrorECCUncorrectable:
    case cudaErrorExternalDevice:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalAddress:
    case cudaErrorIllegalInstruction:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorMisalignedAddress:
    case cudaErrorMpsClientTerminated:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorTensorMemoryLeak:
    case cudaErrorUnknown: return Failure::Kind::lost;
    default: return Failure::Kind::internal;
  }
}

std::string text_of(cudaError_t error) { return std::string(cudaGetErrorString(error)) + " (" + cudaGetErrorName(error) + ")"; }

void check(cudaError_t error, const std::string& what) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // or the next call would report it again
  const Failure::Kind kind = kind_of(error);
  throw Failure{kind, (kind == Failure::Kind::out_of_memory ? "out of memory: " : "") + what + ": " + text_of(error)};
}

cudaStream_t of(Stream stream) { return reinterpret_cast<cudaStream_t>(stream); }
cudaEvent_t of(Event event) { return reinterpret_cast<cudaEvent_t>(event); }
cudaGraphExec_t of(Graph graph) { return reinterpret_cast<cudaGraphExec_t>(graph); }

// "13.0" of 13000
std::string version_text(int version) { return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10); }

struct Devices {
  int count = 0;
  std::string why;
};

Devices find_devices() {
  Devices found;
  const cudaError_t error = cudaGetDeviceCount(&found.count);
  if (error == cudaSuccess && found.count > 0) return found;
  cudaGetLastError();
  found.count = 0;
  int driver = 0, built_for = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&built_for);
  if (driver == 0) {
    found.why = "there is no NVIDIA driver on this machine (libcuda.so.1 was not found)";
  } else if (error == cudaErrorInsufficientDriver) {
    found.why = "the NVIDIA driver is too old: it serves CUDA " + version_text(driver) + ", this build needs " + version_text(built_for);
  } else if (error == cudaErrorNoDevice || error == cudaSuccess) {
    found.why = "the NVIDIA driver finds no GPU (CUDA_VISIBLE_DEVICES may hide it)";
  } else {
    found.why = "the NVIDIA driver does not start: " + text_of(error);
  }
  return found;
}

const Devices& devices() {
  static const Devices found = find_devices();
  return found;
}

// What this library holds, for allocated_bytes().
struct Allocations {
  std::mutex mutex;
  std::map<void*, std::size_t> sizes;
  std::uint64_t bytes = 0;
};
Allocations& allocations() {
  static auto* all = new Allocations;  // outlives static objects that release memory
  return *all;
}

}  // namespace

int device_count() { return devices().count; }
const std::string& why() { return devices().why; }

DeviceInfo device_info(int device) {
  if (device < 0 || device >= device_count()) {
    throw Failure{device_count() == 0 ? Failure::Kind::unavailable : Failure::Kind::invalid,
                  device_count() == 0 ? why()
                                      : "there is no CUDA device " + std::to_string(device) + ": this machine has " + std::to_string(device_count())};
  }
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, device), "properties of CUDA device " + std::to_string(device));
  int before = 0;
  check(cudaGetDevice(&before), "current CUDA device");
  check(cudaSetDevice(device), "CUDA device " + std::to_string(device));
  std::size_t free_bytes = 0, all_bytes = 0;
  const cudaError_t error = cudaMemGetInfo(&free_bytes, &all_bytes);
  cudaSetDevice(before);
  check(error, "memory of CUDA device " + std::to_string(device));
  DeviceInfo info{};
  std::snprintf(info.name, sizeof info.name, "%.127s", properties.name);
  info.compute_capability = static_cast<std::uint32_t>(properties.major * 10 + properties.minor);
  info.multiprocessors = static_cast<std::uint32_t>(properties.multiProcessorCount);
  info.memory = all_bytes;
  info.free_memory = free_bytes;
  return info;
}

void use_device(int device) {
  if (device_count() == 0) throw Failure{Failure::Kind::unavailable, why()};
  check(cudaSetDevice(device), "CUDA device " + std::to_string(device));
}

const DeviceInfo& this_device() {
  static std::mutex mutex;
  static auto* known = new std::map<int, DeviceInfo>;
  int device = 0;
  check(cudaGetDevice(&device), "current CUDA device");
  const std::lock_guard lock(mutex);
  const auto found = known->find(device);
  return found != known->end() ? found->second : known->emplace(device, device_info(device)).first->second;
}

void* allocate(std::size_t bytes) {
  void* memory = nullptr;
  const cudaError_t error = cudaMalloc(&memory, std::max<std::size_t>(bytes, 1));
  Allocations& all = allocations();
  const std::lock_guard lock(all.mutex);
  check(error, std::to_string(bytes) + " bytes of device memory (" + std::to_string(all.bytes) + " in use by signstep)");
  all.sizes[memory] = bytes;
  all.bytes += bytes;
  return memory;
}

void release(void* pointer) {
  if (pointer == nullptr) return;
  {
    Allocations& all = allocations();
    const std::lock_guard lock(all.mutex);
    const auto found = all.sizes.find(pointer);
    if (found == all.sizes.end()) throw Failure{Failure::Kind::invalid, "release of memory that was not allocated on the device"};
    all.bytes -= found->second;
    all.sizes.erase(found);
  }
  cudaFree(pointer);  // an error here is one of a kernel before, which synchronize reports
}

std::uint64_t allocated_bytes() {
  Allocations& all = allocations();
  const std::lock_guard lock(all.mutex);
  return all.bytes;
}

void* allocate_pinned(std::size_t bytes) {
  void* memory = nullptr;
  check(cudaMallocHost(&memory, std::max<std::size_t>(bytes, 1)), std::to_string(bytes) + " bytes of pinned memory");
  return memory;
}

void release_pinned(void* pointer) {
  if (pointer != nullptr) cudaFreeHost(pointer);
}

Stream create_stream() {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "a CUDA stream");
  return reinterpret_cast<Stream>(stream);
}
void destroy(Stream stream) {
  if (stream != nullptr) cudaStreamDestroy(of(stream));
}
void synchronize(Stream stream) { check(cudaStreamSynchronize(of(stream)), "running kernels"); }

Event create_event() {
  cudaEvent_t event = nullptr;
  check(cudaEventCreate(&event), "a CUDA event");
  return reinterpret_cast<Event>(event);
}
void destroy(Event event) {
  if (event != nullptr) cudaEventDestroy(of(event));
}
void record(Event event, Stream stream) { check(cudaEventRecord(of(event), of(stream)), "recording an event"); }
void wait(Stream stream, Event event) { check(cudaStreamWaitEvent(of(stream), of(event), 0), "waiting for an event"); }
bool done(Event event) {
  const cudaError_t state = cudaEventQuery(of(event));
  if (state == cudaErrorNotReady) {
    cudaGetLastError();
    return false;
  }
  check(state, "running kernels");
  return true;
}
float milliseconds(Event from, Event to) {
  float time = 0;
  check(cudaEventElapsedTime(&time, of(from), of(to)), "time between events");
  return time;
}

void upload(void* device, const void* host, std::size_t bytes, Stream stream) {
  if (bytes != 0) check(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, of(stream)), "copy to the device");
}
void download(void* host, const void* device, std::size_t bytes, Stream stream) {
  if (bytes != 0) check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, of(stream)), "copy from the device");
}
void copy(void* to, const void* from, std::size_t bytes, Stream stream) {
  if (bytes != 0) check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, of(stream)), "copy on the device");
}
void fill(void* device, int byte, std::size_t bytes, Stream stream) {
  if (bytes != 0) check(cudaMemsetAsync(device, byte, bytes, of(stream)), "fill of device memory");
}

bool launches_are_waited_for() {
  // Once: CUDA too looks when it starts.
  static const bool asked = [] {
    const char* const text = std::getenv("CUDA_LAUNCH_BLOCKING");
    return text != nullptr && std::strcmp(text, "1") == 0;
  }();
  return asked;
}

void set_schedule(std::uint32_t) {}

void begin_capture(Stream stream) {
  check(cudaStreamBeginCapture(of(stream), cudaStreamCaptureModeThreadLocal), "beginning the capture of a stream");
}

Graph end_capture(Stream stream) {
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(of(stream), &graph), "ending the capture of a stream");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t error = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  check(error, "making a graph executable");
  return reinterpret_cast<Graph>(executable);
}

void launch(Graph graph, Stream stream) { check(cudaGraphLaunch(of(graph), of(stream)), "launch of a graph"); }
void destroy(Graph graph) {
  if (graph != nullptr) cudaGraphExecDestroy(of(graph));
}

}  // namespace signstep::rt

namespace signstep::device {

namespace {

// Kernels may use 48 KiB of shared memory unless they are told otherwise, once a device and size.
void allow_shared_bytes(const void* kernel, std::size_t bytes, const char* name) {
  if (bytes <= 48 * 1024) return;
  static std::mutex mutex;
  static auto* allowed = new std::map<std::pair<int, const void*>, std::size_t>;
  int device = 0;
  cudaGetDevice(&device);
  const std::lock_guard lock(mutex);
  std::size_t& limit = (*allowed)[{device, kernel}];
  if (bytes <= limit) return;
  rt::check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
            std::string(name) + ": " + std::to_string(bytes) + " bytes of shared memory");
  limit = bytes;
}

}  // namespace

void launch_kernel(const char* name, const void* kernel, dim3 grid, dim3 block, std::size_t shared_bytes, rt::Stream stream, void** arguments) {
  allow_shared_bytes(kernel, shared_bytes, name);
  cudaError_t error = cudaLaunchKernel(kernel, grid, block, arguments, shared_bytes, rt::of(stream));
  if (error == cudaSuccess && rt::launches_are_waited_for()) error = cudaStreamSynchronize(rt::of(stream));
  if (error == cudaSuccess) return;
  cudaGetLastError();
  using Kind = rt::Failure::Kind;
  const Kind kind = rt::kind_of(error);
  if (kind == Kind::out_of_memory) throw rt::Failure{kind, std::string("out of memory: ") + name + ": " + rt::text_of(error)};
  // What a kernel did wrong is told to the launches after it.
  if (kind == Kind::lost) throw rt::Failure{kind, std::string(name) + (rt::launches_are_waited_for() ? ": " : " or a kernel before it: ") + rt::text_of(error)};
  const std::string known = error == cudaErrorNoKernelImageForDevice ? ": this build has no code for this GPU: " : ": ";
  throw rt::Failure{Kind::launch, name + known + rt::text_of(error)};
}

TensorMap make_tensor_map(const void* base, int element_bytes, std::int64_t rows, std::int64_t columns, std::int64_t row_stride_elements,
                          int box_rows, int box_columns) {
  const auto refuse = [](const std::string& what) { throw rt::Failure{rt::Failure::Kind::invalid, "tensor map: " + what}; };
  if (element_bytes != 2 && element_bytes != 1) refuse("elements of " + std::to_string(element_bytes) + " bytes, not 2 or 1");
  if (box_columns * element_bytes != 128) refuse("boxes of " + std::to_string(box_columns * element_bytes) + " bytes across, not 128");
  using Encode = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*, const cuuint64_t*, const cuuint32_t*,
                              const cuuint32_t*, CUtensorMapInterleave, CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);
  static const Encode encode = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult result{};
    rt::check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &result),
              "cuTensorMapEncodeTiled of the driver");
    if (function == nullptr || result != cudaDriverEntryPointSuccess) {
      throw rt::Failure{rt::Failure::Kind::unavailable, "the NVIDIA driver has no cuTensorMapEncodeTiled"};
    }
    return reinterpret_cast<Encode>(function);
  }();
  CUtensorMap encoded;
  const cuuint64_t sizes[2] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[1] = {static_cast<cuuint64_t>(row_stride_elements * element_bytes)};
  const cuuint32_t box[2] = {static_cast<cuuint32_t>(box_columns), static_cast<cuuint32_t>(box_rows)};
  const cuuint32_t steps[2] = {1, 1};
  // The type only matters for what fills places beyond the matrix; zeros are the same in all of its size.
  const CUtensorMapDataType type = element_bytes == 2 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_UINT8;
  const CUresult result = encode(&encoded, type, 2, const_cast<void*>(base), sizes,
                                 strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                 CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS) {
    refuse("the driver refuses " + std::to_string(rows) + "x" + std::to_string(columns) + ", stride " + std::to_string(row_stride_elements) +
           ", box " + std::to_string(box_rows) + "x" + std::to_string(box_columns) + " (CUresult " + std::to_string(static_cast<int>(result)) + ")");
  }
  static_assert(sizeof(TensorMap) == sizeof(CUtensorMap));
  TensorMap map;
  std::memcpy(&map, &encoded, sizeof map);
  return map;
}

}  // namespace signstep::device
