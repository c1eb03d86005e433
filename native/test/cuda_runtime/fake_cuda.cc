#include "fake_cuda.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

namespace fake {

Cuda& cuda() {
  static Cuda all;
  return all;
}

}  // namespace fake

namespace {

using fake::cuda;

std::map<void*, std::size_t>& blocks() {
  static std::map<void*, std::size_t> all;
  return all;
}

}  // namespace

const char* cudaGetErrorString(cudaError_t error) { return error == cudaSuccess ? "no error" : "the driver's own words"; }
const char* cudaGetErrorName(cudaError_t error) {
  static thread_local char name[32];
  std::snprintf(name, sizeof name, "error %d", static_cast<int>(error));
  return name;
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
cudaError_t cudaGetDeviceCount(int* count) {
  *count = cuda().device_count == cudaSuccess ? cuda().devices : 0;
  return cuda().device_count;
}
cudaError_t cudaDriverGetVersion(int* version) { return *version = cuda().driver_version, cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int* version) { return *version = 13000, cudaSuccess; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {"Abacus", 9, 0, 132};
  return cuda().running;
}
cudaError_t cudaGetDevice(int* device) { return *device = 0, cuda().running; }
cudaError_t cudaSetDevice(int device) { return device < cuda().devices ? cuda().running : cudaErrorInvalidDevice; }
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* all) {
  *free = *all = cuda().room;
  return cuda().running;
}
cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  if (cuda().running != cudaSuccess) return cuda().running;
  if (bytes > cuda().room) return cudaErrorMemoryAllocation;
  cuda().room -= bytes;
  blocks()[*memory = std::malloc(bytes)] = bytes;
  ++cuda().allocated;
  return cudaSuccess;
}
cudaError_t cudaFree(void* memory) {
  cuda().room += blocks()[memory];
  blocks().erase(memory);
  std::free(memory);
  ++cuda().freed;
  return cuda().running;
}
cudaError_t cudaMallocHost(void** memory, std::size_t bytes) { return *memory = std::malloc(bytes), cudaSuccess; }
cudaError_t cudaFreeHost(void* memory) { return std::free(memory), cudaSuccess; }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = reinterpret_cast<cudaStream_t>(std::malloc(1));
  ++cuda().streams;
  return cuda().running;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  std::free(stream);
  --cuda().streams;
  return cuda().running;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return cuda().running; }
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cuda().running; }
cudaError_t cudaEventCreate(cudaEvent_t* event) { return *event = nullptr, cuda().running; }
cudaError_t cudaEventDestroy(cudaEvent_t) { return cuda().running; }
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cuda().running; }
cudaError_t cudaEventQuery(cudaEvent_t) { return cuda().running; }
cudaError_t cudaEventElapsedTime(float* time, cudaEvent_t, cudaEvent_t) { return *time = 1, cuda().running; }
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t) {
  if (cuda().running == cudaSuccess) std::memcpy(to, from, bytes);
  return cuda().running;
}
cudaError_t cudaMemsetAsync(void* to, int byte, std::size_t bytes, cudaStream_t) {
  if (cuda().running == cudaSuccess) std::memset(to, byte, bytes);
  return cuda().running;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) { return cuda().running; }
cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) { return *graph = nullptr, cuda().running; }
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t, unsigned long long) { return *executable = nullptr, cuda().running; }
cudaError_t cudaGraphDestroy(cudaGraph_t) { return cuda().running; }
cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t) { return cuda().running; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t) { return cuda().running; }
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cuda().running; }
cudaError_t cudaLaunchKernel(const void*, dim3, dim3, void**, std::size_t, cudaStream_t) { return cuda().launch; }
cudaError_t cudaGetDriverEntryPointByVersion(const char*, void** function, unsigned, unsigned long long, cudaDriverEntryPointQueryResult* result) {
  *function = nullptr;
  *result = cudaDriverEntryPointSuccess;
  return cuda().running;
}
