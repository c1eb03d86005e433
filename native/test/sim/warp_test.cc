// Shuffles, votes and the masks they take.
#include "kernel_case.h"

namespace {

using namespace kernel_case;
using namespace signstep::device;

__global__ void all_shuffles(int* out) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  int at = static_cast<int>(threadIdx.x) * 8;
  out[at++] = __shfl_sync(~0u, lane * 3, 5);
  out[at++] = __shfl_sync(~0u, lane, lane % 4 + 1, 8);
  out[at++] = __shfl_xor_sync(~0u, lane, 17);
  out[at++] = __shfl_down_sync(~0u, lane, 3);
  out[at++] = __shfl_up_sync(~0u, lane, 3);
  out[at++] = __shfl_down_sync(~0u, lane, 5, 16);
  out[at++] = static_cast<int>(__ballot_sync(~0u, lane % 3 == 0));
  out[at++] = __any_sync(~0u, lane == 31) * 4 + __all_sync(~0u, lane < 31) * 2 + __all_sync(~0u, lane < 32);
}
// The halves of a warp go different ways, each with its own mask.
__global__ void two_halves(float* out) {
  const unsigned lane = threadIdx.x % 32;
  const unsigned mask = lane < 16 ? 0xFFFFu : 0xFFFF0000u;
  float sum = static_cast<float>(lane);
  if (lane < 16) {
    for (int o = 8; o > 0; o /= 2) sum += __shfl_xor_sync(mask, sum, o);
  } else {
    for (int o = 8; o > 0; o /= 2) sum += __shfl_xor_sync(mask, sum, o);
    __syncwarp(mask);
  }
  out[threadIdx.x] = sum;
}
__global__ void divergent(int* out) {
  if (threadIdx.x % 32 < 7) {
    out[0] = __shfl_sync(~0u, 1, 0);
  } else {
    out[1] = __shfl_sync(~0u, 1, 0);
  }
}
__global__ void mask_without_self(int* out) { out[0] = __shfl_sync(0xFFFFu, 1, 0); }
__global__ void from_outside(int* out) {
  if (threadIdx.x < 16) out[0] = __shfl_sync(0xFFFFu, 1, 20);
}
__global__ void returned_lanes(int* out) {
  if (threadIdx.x % 32 >= 20) return;
  out[0] = __shfl_xor_sync(~0u, 1, 1);
}

template <class... P>
std::string fault(void (*kernel)(P...)) {
  Array<int> out(64);
  return caught([&] { device::launch("planted", kernel, 1, 32, 0, nullptr, out.data()); });
}

}  // namespace

TEST("shuffles and votes are those of the GPU") {
  under_all_schedules([] {
    Array<int> out(64 * 8);
    device::launch("all_shuffles", all_shuffles, 1, 64, 0, nullptr, out.data());
    const std::vector<int> found = out.host();
    bool right = true;
    for (int t = 0; t < 64; t++) {
      const int lane = t % 32;
      const int expected[8] = {15, lane / 8 * 8 + lane % 4 + 1, lane ^ 17, lane + 3 < 32 ? lane + 3 : lane, lane >= 3 ? lane - 3 : lane,
                               lane % 16 + 5 < 16 ? lane + 5 : lane, 0x49249249, 5};
      for (int i = 0; i < 8; i++) right = right && found[static_cast<std::size_t>(t * 8 + i)] == expected[i];
    }
    EXPECT(right);
  });
}
TEST("disjoint groups of lanes meet independently") {
  under_all_schedules([] {
    Array<float> out(32);
    device::launch("two_halves", two_halves, 1, 32, 0, nullptr, out.data());
    EXPECT(out.host()[3] == 120 && out.host()[20] == 376);
  });
}
TEST("a shuffle that lanes reach in different lines is divergent") { EXPECT(says(fault(divergent), "divergent")); }
TEST("a mask without the lane itself is found") { EXPECT(says(fault(mask_without_self), "leaves out the lane")); }
TEST("a shuffle from a lane outside the mask is found") { EXPECT(says(fault(from_outside), "outside the mask")); }
TEST("a mask with lanes that have returned is found") { EXPECT(!fault(returned_lanes).empty()); }
