// A CUDA without a GPU: the driver that a test wishes for, one device, and errors on demand that stick as CUDA's do.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

namespace fake {

struct Cuda {
  // Of the machine. Looked at once, when the runtime first asks for devices.
  int driver_version = 13000;
  cudaError_t device_count = cudaSuccess;
  int devices = 1;

  cudaError_t launch = cudaSuccess;   // what launches say
  cudaError_t running = cudaSuccess;  // what a kernel comes to: told by whatever waits for it, and by every call after that
  std::size_t room = 1 << 20;         // bytes of device memory that are left
  std::size_t freed = 0, allocated = 0, streams = 0;
};
Cuda& cuda();

}  // namespace fake
