// Which images are still under attack: the positions whose flag is 0, in order, by a prefix sum in one block (a batch has at most some
// thousand images: four rounds).
#include "element.cuh"

namespace signstep::kernels {
namespace {

constexpr int kThreads = 1024, kWarps = kThreads / 32;

__global__ void __launch_bounds__(kThreads) surviving_rows_kernel(const std::uint8_t* fooled, std::int32_t* live, std::int32_t* rows,
                                                                  std::int32_t* left) {
  const Shared<std::int32_t> of_warp = shared_cast<std::int32_t>(dynamic_shared());
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  const std::int32_t images = *live;  // a barrier stands before it changes, unless it is 0 and stays
  std::int32_t before = 0;            // survivors of the rounds before
  for (std::int32_t base = 0; base < images; base += kThreads) {
    const std::int32_t image = base + thread;
    const bool survives = image < images && fooled[image] == 0;
    const unsigned votes = __ballot_sync(0xFFFFFFFFu, survives);
    if (lane == 0) of_warp[warp] = __popc(votes);
    __syncthreads();
    // Every warp adds up all warps: 32 numbers, one a lane.
    const std::int32_t own = of_warp[lane];
    std::int32_t lower = lane < warp ? own : 0, all = own;
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) {
      lower += __shfl_xor_sync(0xFFFFFFFFu, lower, distance);
      all += __shfl_xor_sync(0xFFFFFFFFu, all, distance);
    }
    if (survives) rows[before + lower + __popc(votes & ((1u << lane) - 1u))] = image;
    before += all;
    __syncthreads();
  }
  if (thread != 0) return;
  *live = before;
  *left = before;
}

}  // namespace

void surviving_rows(const std::uint8_t* fooled, std::int32_t* live, std::int32_t* rows, std::int32_t* left, rt::Stream stream) {
  launch("surviving_rows", surviving_rows_kernel, dim3(1), dim3(kThreads), kWarps * sizeof(std::int32_t), stream, fooled, live, rows, left);
}

}  // namespace signstep::kernels
