// The device runtime of CUDA over a CUDA that says what a test wishes: what each error is taken for, and how it is told. The driver is looked
// at once in a process: FAKE_CUDA_DRIVER in the environment chooses the machine, and with it the tests that run.
#include <cstdlib>
#include <string>

#include "../harness.h"
#include "fake_cuda.h"
// After CUDA's header, whose dim3 it uses.
#include "../../cuda/ptx/kernel_launch.h"

namespace {

using namespace signstep;
using Kind = rt::Failure::Kind;

struct Told {
  bool failed = false;
  Kind kind = Kind::internal;
  std::string message = {};
  bool is(Kind expected, const char* part) const { return failed && kind == expected && message.find(part) != std::string::npos; }
};

template <class Body>
Told told_by(Body&& body) {
  try {
    body();
  } catch (const rt::Failure& failure) {
    return {true, failure.kind, failure.message};
  }
  return {};
}

void launch_something() { device::launch_kernel("layer_norm", nullptr, {}, {}, 0, nullptr, nullptr); }

bool on_machine(const char* driver) {
  const char* const wanted = std::getenv("FAKE_CUDA_DRIVER");
  return wanted != nullptr && std::string(wanted) == driver;
}

}  // namespace

TEST("a machine without a driver says so") {
  if (!on_machine("none")) return;
  fake::cuda() = {.driver_version = 0, .device_count = cudaErrorInsufficientDriver};
  EXPECT(rt::device_count() == 0 && rt::why().find("there is no NVIDIA driver on this machine") != std::string::npos);
  EXPECT(told_by([] { rt::use_device(0); }).is(Kind::unavailable, "no NVIDIA driver"));
  EXPECT(told_by([] { rt::device_info(0); }).is(Kind::unavailable, "no NVIDIA driver"));
}

TEST("a driver that is too old is told with both versions") {
  if (!on_machine("old")) return;
  fake::cuda() = {.driver_version = 11040, .device_count = cudaErrorInsufficientDriver};
  EXPECT(rt::device_count() == 0);
  EXPECT(told_by([] { rt::use_device(0); }).is(Kind::unavailable, "too old: it serves CUDA 11.4, this build needs 13.0"));
}

TEST("a driver that finds no GPU says so") {
  if (!on_machine("without-gpu")) return;
  fake::cuda() = {.device_count = cudaErrorNoDevice};
  EXPECT(rt::device_count() == 0 && rt::why().find("finds no GPU (CUDA_VISIBLE_DEVICES may hide it)") != std::string::npos);
}

TEST("a driver of the wrong kind is told in its own words") {
  if (!on_machine("wrong")) return;
  fake::cuda() = {.device_count = cudaErrorSystemDriverMismatch};
  EXPECT(rt::device_count() == 0 && rt::why().find("does not start: the driver's own words (error 803)") != std::string::npos);
}

TEST("a device that is not there is no device of another name") {
  if (!on_machine("good")) return;
  fake::cuda() = {};
  EXPECT(rt::device_count() == 1 && rt::device_info(0).compute_capability == 90);
  EXPECT(told_by([] { rt::device_info(1); }).is(Kind::invalid, "there is no CUDA device 1: this machine has 1"));
}

TEST("memory that runs out is told with what was asked for, and all that was taken comes back") {
  if (!on_machine("good")) return;
  fake::cuda() = {};
  void* const first = rt::allocate(1 << 19);
  EXPECT(told_by([] { rt::allocate(1 << 20); }).is(Kind::out_of_memory, "out of memory: 1048576 bytes of device memory (524288 in use"));
  EXPECT(rt::allocated_bytes() == 1 << 19);
  rt::release(first);
  EXPECT(rt::allocated_bytes() == 0 && fake::cuda().freed == fake::cuda().allocated);
  fake::cuda().launch = cudaErrorMemoryAllocation;
  EXPECT(told_by(launch_something).is(Kind::out_of_memory, "out of memory: layer_norm"));
}

TEST("a launch that is refused names its kernel, and the device goes on") {
  if (!on_machine("good")) return;
  for (const cudaError_t error : {cudaErrorInvalidConfiguration, cudaErrorLaunchOutOfResources, cudaErrorInvalidValue}) {
    fake::cuda() = {.launch = error};
    EXPECT(told_by(launch_something).is(Kind::launch, "layer_norm: the driver's own words"));
  }
  fake::cuda() = {.launch = cudaErrorNoKernelImageForDevice};
  EXPECT(told_by(launch_something).is(Kind::launch, "layer_norm: this build has no code for this GPU"));
  fake::cuda() = {};
  EXPECT(!told_by(launch_something).failed);
}

TEST("what a kernel or the hardware cannot recover from makes the device a lost one, and its memory still comes back") {
  if (!on_machine("good")) return;
  for (const cudaError_t error : {cudaErrorIllegalAddress, cudaErrorMisalignedAddress, cudaErrorIllegalInstruction, cudaErrorLaunchFailure,
                                  cudaErrorLaunchTimeout, cudaErrorECCUncorrectable, cudaErrorNvlinkUncorrectable, cudaErrorAssert, cudaErrorUnknown}) {
    fake::cuda() = {};
    void* const memory = rt::allocate(64);
    const rt::Stream stream = rt::create_stream();
    fake::cuda().running = error;
    EXPECT(told_by([&] { rt::synchronize(stream); }).is(Kind::lost, "running kernels: the driver's own words"));
    EXPECT(told_by([] { rt::use_device(0); }).is(Kind::lost, "CUDA device 0"));
    fake::cuda().launch = error;
    EXPECT(told_by(launch_something).is(Kind::lost, "layer_norm or a kernel before it"));
    rt::release(memory);
    rt::destroy(stream);
    EXPECT(rt::allocated_bytes() == 0 && fake::cuda().streams == 0);
  }
}

TEST("with CUDA_LAUNCH_BLOCKING=1 the launch of a kernel that fails tells of it by name") {
  if (!on_machine("blocking")) return;
  setenv("CUDA_LAUNCH_BLOCKING", "1", 1);
  fake::cuda() = {.running = cudaErrorIllegalAddress};
  EXPECT(told_by(launch_something).is(Kind::lost, "layer_norm: the driver's own words"));
}
