// cp.async: what is there after the wait, and not before.
#include "kernel_case.h"

namespace {

using namespace kernel_case;
using namespace signstep::device;

enum Bug { none, no_wait, no_commit, late_commit, no_barrier, wrong_group, overwrites, misaligned };

// Doubles rows of 128 floats through two stages; places from `columns` on are zeros.
__global__ void doubles(const float* in, float* out, int rows, int columns, int bug) {
  Shared<float> stage = shared_cast<float>(dynamic_shared());
  const int t = static_cast<int>(threadIdx.x);  // 32 threads of 4 floats each
  const auto load = [&](int r) {
    if (r < rows) cp_async16(stage + r % 2 * 128 + t * 4, in + r * 128 + (bug == misaligned && t < 31 ? t * 4 + 1 : t * 4), t * 4 < columns);
    if (bug != no_commit && bug != late_commit) cp_async_commit();
  };
  load(0);
  for (int r = 0; r < rows; r++) {
    load(r + 1);
    if (bug == wrong_group) {
      cp_async_wait<2>();
    } else if (bug != no_wait) {
      cp_async_wait<1>();
    }
    if (bug == late_commit) cp_async_commit();
    if (bug != no_barrier) __syncwarp();
    for (int i = 0; i < 4; i++) out[r * 128 + i * 32 + t] = 2 * stage[r % 2 * 128 + i * 32 + t];
    if (bug != overwrites) __syncwarp();
  }
}
__global__ void forgets_commit(const float* in, float*) { cp_async4(shared_cast<float>(dynamic_shared()) + static_cast<int>(threadIdx.x), in, true); }

std::string fault(int bug) {
  Array<float> in(std::vector<float>(4 * 128, 3)), out(4 * 128);
  return caught([&] { device::launch("doubles", doubles, 1, 32, 1024, nullptr, in.data(), out.data(), 4, 128, bug); });
}

}  // namespace

TEST("copies bring values, and zeros where not valid") {
  std::vector<float> values(4 * 128);
  for (std::size_t i = 0; i < values.size(); i++) values[i] = static_cast<float>(i);
  Array<float> in(values);
  under_all_schedules([&] {
    Array<float> out(4 * 128);
    EXPECT(failure_of([&] { device::launch("doubles", doubles, 1, 32, 1024, nullptr, in.data(), out.data(), 4, 100, int{none}); }).empty());
    const std::vector<float> found = out.host();
    bool right = true;
    for (std::size_t i = 0; i < found.size(); i++) right = right && found[i] == (i % 128 < 100 ? 2 * values[i] : 0);
    EXPECT(right);
  });
}
TEST("reading before the wait is found") { EXPECT(says(fault(no_wait), "asynchronous copy not waited for")); }
TEST("waiting for a group too few is found") { EXPECT(says(fault(wrong_group), "asynchronous copy not waited for")); }
TEST("copies in no group are found at the wait and at the end") {
  EXPECT(says(fault(no_commit), "cp_async_commit is missing"));
  EXPECT(says(fault(late_commit), "cp_async_commit is missing"));
  Array<float> in(4), out(1);
  EXPECT(says(caught([&] { device::launch("forgets_commit", forgets_commit, 1, 32, 128, nullptr, in.data(), out.data()); }), "returns with cp.async copies"));
}
TEST("what another thread copied needs a barrier after its wait") { EXPECT(says(fault(no_barrier), "shared byte")); }
TEST("copying over what is still read is found") { EXPECT(says(fault(overwrites), "shared byte")); }
TEST("a misaligned global address is found") { EXPECT(says(fault(misaligned), "not aligned to 16")); }
