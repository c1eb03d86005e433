// TMA stores, the fence before them, and products of tiles that threads wrote themselves.
#include <cmath>

#include "kernel_case.h"

namespace {

using namespace kernel_case;
using namespace signstep::device;

enum Bug { none, no_fence, no_barrier, no_commit, no_wait, never_waits, overwrites, misaligned, not_a_map };

// Writes a box of 32 x 64 elements, numbered, where row r's chunk c lies at chunk c ^ (r % 8), and stores it at (column, row).
__global__ void store(const __grid_constant__ TensorMap map, int column, int row, int bug) {
  Shared<f16> box = shared_cast<f16>(dynamic_shared());
  const int t = static_cast<int>(threadIdx.x);
  for (int i = t; i < 32 * 64; i += 64) {
    const int r = i / 64, c = i % 64;
    box[r * 64 + ((c / 8) ^ (r % 8)) * 8 + c % 8] = from_float<f16>(static_cast<float>(i));
  }
  if (bug != no_fence) fence_proxy_async();
  if (bug != no_barrier) __syncthreads();
  if (t == 0) {
    tma_store_2d(map, column, row, box + (bug == misaligned ? 64 : 0));
    if (bug != no_commit) tma_store_commit();
    if (bug == overwrites) box[3] = from_float<f16>(0);
    if (bug == no_commit || bug == never_waits) return;
    if (bug != no_wait) tma_store_wait<0>();
    box[3] = from_float<f16>(0);
  }
}

// A product of tiles written by the threads: A is 2 in its first 16 columns, B counts its rows.
__global__ void own_tiles(float* out, int clean) {
  Shared<bf16> a = shared_cast<bf16>(dynamic_shared()), b = a + 64 * 64;
  const int t = static_cast<int>(threadIdx.x);
  for (int i = t; i < 64 * 64; i += 128) {
    a[i] = from_float<bf16>(2);
    b[i] = from_float<bf16>(static_cast<float>(i / 64));
  }
  if (clean) fence_proxy_async();
  __syncthreads();
  float d[32] = {};
  wgmma_fence();
  wgmma_m64k16<64, bf16>(d, wgmma_descriptor(a), wgmma_descriptor(b));
  wgmma_commit();
  wgmma_wait<0>();
  for (int i = 0; i < 32; i++) out[(t / 32 * 16 + t % 32 / 4 + i % 4 / 2 * 8) * 64 + i / 4 * 8 + t % 4 * 2 + i % 2] = d[i];
}
__global__ void bad_tile(float*, int elements) {
  float d[32] = {};
  const Shared<bf16> a = shared_cast<bf16>(dynamic_shared()) + elements;
  wgmma_fence();
  wgmma_m64k16<64, bf16>(d, wgmma_descriptor(a), wgmma_descriptor(a));
}
__global__ void too_many_registers(float*) {
  if (threadIdx.x < 128) {
    setmaxnreg_dec<24>();
  } else {
    setmaxnreg_inc<248>();
  }
}
__global__ void no_mbarrier(float*) { mbar_arrive(shared_cast<Mbar>(dynamic_shared())); }

std::vector<float> stored(int rows, int columns, int column, int row, int bug, std::string* message) {
  Array<f16> matrix(std::vector<f16>(static_cast<std::size_t>(rows * 64), from_float<f16>(-1)));
  const TensorMap map = bug == not_a_map ? TensorMap{} : make_tensor_map(matrix.data(), 2, rows, columns, 64, 32, 64);
  *message = failure_of([&] { device::launch("store", store, 1, 64, 8192, nullptr, map, column, row, bug); });
  std::vector<float> out;
  for (const f16 value : matrix.host()) out.push_back(to_float(value));
  return out;
}
std::string fault(int bug) {
  std::string last;
  return caught([&] {
    std::string message;
    stored(32, 64, 0, 0, bug, &message);
    if (!message.empty()) throw rt::Failure{rt::Failure::Kind::launch, message};
  });
}

}  // namespace

TEST("a TMA store writes the box, and nothing beyond the matrix") {
  under_all_schedules([] {
    std::string message;
    const std::vector<float> found = stored(40, 50, 8, 16, none, &message);
    EXPECT(message.empty());
    bool right = true;
    for (int r = 0; r < 40; r++) {
      for (int c = 0; c < 64; c++) {
        const bool inside = r >= 16 && c >= 8 && c < 50;
        const int i = (r - 16) * 64 + c - 8;
        right = right && found[static_cast<std::size_t>(r * 64 + c)] == (inside ? static_cast<float>(i) : -1.0f);
      }
    }
    EXPECT(right);
  });
}
TEST("a store of what was written without fence_proxy_async is found") { EXPECT(says(fault(no_fence), "without fence_proxy_async")); }
TEST("a store before the others have written is found") { EXPECT(says(fault(no_barrier), "shared byte")); }
TEST("stores in no group, or not waited for, are found at the end") {
  EXPECT(says(fault(no_commit), "tma_store_commit is missing"));
  EXPECT(says(fault(never_waits), "returns before tma_store_wait"));
  EXPECT(says(fault(no_wait), "not waited for still reads"));
}
TEST("writing what a store still reads is found") { EXPECT(says(fault(overwrites), "not waited for still reads")); }
TEST("a box at an odd place and a map of nothing are found") {
  EXPECT(says(fault(misaligned), "not a multiple of 1024"));
  EXPECT(says(fault(not_a_map), "make_tensor_map"));
}
TEST("tensor maps are checked where they are made") {
  Array<f16> matrix(64 * 64);
  const auto refused = [&](int bytes, std::int64_t rows, std::int64_t columns, std::int64_t stride, int box_rows, int box_columns, int shift) {
    try {
      make_tensor_map(reinterpret_cast<char*>(matrix.data()) + shift, bytes, rows, columns, stride, box_rows, box_columns);
    } catch (const rt::Failure& failure) {
      return failure.kind == rt::Failure::Kind::invalid;
    }
    return false;
  };
  EXPECT(!refused(2, 64, 64, 64, 64, 64, 0));
  EXPECT(!refused(1, 64, 128, 128, 64, 128, 0));
  EXPECT(refused(1, 64, 64, 64, 64, 64, 0) && refused(1, 64, 120, 120, 64, 128, 0) && refused(1, 64, 128, 128, 64, 128, 8));
  EXPECT(refused(4, 64, 64, 64, 64, 64, 0) && refused(2, 0, 64, 64, 64, 64, 0) && refused(2, 64, 64, 60, 64, 64, 0));
  EXPECT(refused(2, 64, 64, 64, 257, 64, 0) && refused(2, 64, 64, 64, 64, 32, 0) && refused(2, 64, 64, 64, 64, 64, 8));
}
TEST("products of tiles that threads wrote need fence_proxy_async") {
  Array<float> out(64 * 64);
  EXPECT(says(caught([&] { device::launch("own_tiles", own_tiles, 1, 128, 16384, nullptr, out.data(), 0); }), "without fence_proxy_async"));
  under_all_schedules([&] {
    EXPECT(failure_of([&] { device::launch("own_tiles", own_tiles, 1, 128, 16384, nullptr, out.data(), 1); }).empty());
    EXPECT(out.host()[5 * 64 + 7] == 2 * 16 * 7);
  });
}
TEST("tiles of wgmma begin where the swizzle does") {
  Array<float> out(1);
  const auto fault_at = [&](int elements) {
    return caught([&] { device::launch("bad_tile", bad_tile, 1, 128, 16384, nullptr, out.data(), elements); });
  };
  EXPECT(says(fault_at(64), "must begin at a multiple of 1024 bytes"));
  EXPECT(says(fault_at(8), "must begin at a multiple of 1024 bytes"));
  EXPECT(says(fault_at(64 * 72), "out of shared memory"));
}
TEST("more registers than a multiprocessor has, and mbarriers never initialised, are found") {
  Array<float> out(1);
  EXPECT(says(caught([&] { device::launch("too_many", too_many_registers, 1, 384, 0, nullptr, out.data()); }), "of 65536 in all"));
  EXPECT(says(caught([&] { device::launch("no_mbarrier", no_mbarrier, 1, 32, 8, nullptr, out.data()); }), "no initialised mbarrier"));
}
