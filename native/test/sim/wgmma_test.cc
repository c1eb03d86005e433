// TMA, mbarriers and wgmma together: a product of matrices the Hopper way, and what can go wrong in one.
#include <cmath>
#include <random>

#include "kernel_case.h"

namespace {

using namespace kernel_case;
using namespace signstep::device;

enum Bug {
  none, no_wait, no_commit, no_fence, early_read, early_refill, wrong_parity, no_init_fence, wrong_bytes, no_arrival, touched, never_waited,
  only_one_warp_waits
};

constexpr int stages = 2;

// out [64 * warpgroups, N] = a [.., k] . b [N, k]^T: a producer warpgroup, `consumers` warpgroups of 64 rows each.
template <int N, int consumers, class T, Bug bug>
__global__ void product(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, float* out, int k) {
  constexpr int rows = 64 * consumers, stage = (rows + N) * 64;
  Shared<T> tiles = shared_cast<T>(dynamic_shared() + 1024);
  Shared<Mbar> full = shared_cast<Mbar>(dynamic_shared()), empty = full + stages;
  const int t = static_cast<int>(threadIdx.x), steps = (k + 63) / 64;
  if (t == 0) {
    for (int s = 0; s < stages; s++) {
      mbar_init(full + s, 1);
      mbar_init(empty + s, consumers);
    }
    if (bug != no_init_fence) mbar_init_fence();
  }
  __syncthreads();
  if (t / 128 == consumers) {
    setmaxnreg_dec<40>();
    if (t % 128 == 0) {
      for (int i = 0; i < steps; i++) {
        const int s = i % stages;
        if (i >= stages && bug != early_refill) mbar_wait(empty + s, static_cast<unsigned>(i / stages - 1) & 1);
        mbar_expect(full + s, stage * 2 + (bug == wrong_bytes ? 16 : 0));
        for (int c = 0; c < consumers; c++) tma_load_2d(tiles + s * stage + c * 64 * 64, a, i * 64, c * 64, full + s);
        tma_load_2d(tiles + s * stage + rows * 64, b, i * 64, 0, full + s);
      }
    }
    return;
  }
  setmaxnreg_inc<216>();
  float d[N / 2];
#pragma unroll
  for (int i = 0; i < N / 2; i++) d[i] = 0;
  const int group = t / 128;
  for (int i = 0; i < steps; i++) {
    const int s = i % stages;
    if (bug != only_one_warp_waits || t % 128 < 32) mbar_wait(full + s, static_cast<unsigned>(i / stages + (bug == wrong_parity)) & 1);
    if (bug == only_one_warp_waits && i == 0) barrier_sync(1 + group, 128);  // orders only the first
    if (bug != no_fence) wgmma_fence();
#pragma unroll
    for (int kk = 0; kk < 4; kk++) {
      wgmma_m64k16<N, T>(d, wgmma_descriptor(tiles + s * stage + group * 64 * 64 + 16 * kk), wgmma_descriptor(tiles + s * stage + rows * 64 + 16 * kk));
    }
    if (bug == touched && i == 1) d[3] = 1;
    if (bug != no_commit) wgmma_commit();
    if (bug == early_read && t == 0) out[rows * N] = d[0];
    if (bug != no_wait && !(bug == never_waited && i == steps - 1)) wgmma_wait<0>();
    if (t % 128 == 0 && bug != no_arrival) mbar_arrive(empty + s);
  }
  const int u = t % 128;
#pragma unroll
  for (int i = 0; i < N / 2; i++) {
    out[(group * 64 + u / 32 * 16 + u % 32 / 4 + i % 4 / 2 * 8) * N + i / 4 * 8 + u % 4 * 2 + i % 2] = d[i];
  }
}

template <class T>
struct Operands {
  int rows, columns, k, stride;
  std::vector<float> a, b;
  Array<T> a_device, b_device;
  Operands(int m, int n, int depth)
      : rows(m), columns(n), k(depth), stride((depth + 7) / 8 * 8), a(draw(m)), b(draw(n)), a_device(bits(a)), b_device(bits(b)) {}
  std::vector<float> draw(int count) const {
    std::mt19937 random(static_cast<unsigned>(count * 7 + k));
    std::normal_distribution<float> normal(0.3f, 1);
    std::vector<float> out(static_cast<std::size_t>(count * stride));
    for (float& value : out) value = to_float(from_float<T>(normal(random)));
    return out;
  }
  static std::vector<T> bits(const std::vector<float>& from) {
    std::vector<T> out;
    for (const float value : from) out.push_back(from_float<T>(value));
    return out;
  }
  double exact(int i, int j) const {
    double sum = 0;
    for (int e = 0; e < k; e++) sum += static_cast<double>(a[static_cast<std::size_t>(i * stride + e)]) * b[static_cast<std::size_t>(j * stride + e)];
    return sum;
  }
};

template <int N, int consumers, class T, Bug bug = none>
void run(const Operands<T>& o, Array<float>& out) {
  const TensorMap a = make_tensor_map(o.a_device.data(), 2, o.rows, o.k, o.stride, 64, 64);
  const TensorMap b = make_tensor_map(o.b_device.data(), 2, o.columns, o.k, o.stride, N, 64);
  device::launch("product", product<N, consumers, T, bug>, 1, 128 * (consumers + 1), 1024 + stages * (64 * consumers + N) * 128, nullptr, a, b, out.data(), o.k);
}

// Rows and columns beyond the operands come as zeros.
template <int N, int consumers, class T>
double error_of(int rows, int columns, int k) {
  const Operands<T> o(rows, columns, k);
  double worst = 0;
  under_all_schedules([&] {
    Array<float> out(64 * consumers * N);
    run<N, consumers, T>(o, out);
    const std::vector<float> found = out.host();
    for (int i = 0; i < 64 * consumers; i++) {
      for (int j = 0; j < N; j++) {
        const double exact = i < rows && j < columns ? o.exact(i, j) : 0;
        const double difference = std::fabs(found[static_cast<std::size_t>(i * N + j)] - exact);
        worst = difference <= worst ? worst : difference;  // NaN counts
      }
    }
  });
  return worst;
}

// d [64, N] = a [64, k] . b [N, k]^T in e4m3, 128 of K a round. Planted: the second round forgets what the first left; it keeps what the
// registers held before the first; K is walked by 16 bytes, as an index of two-byte elements would; the swizzle of rows of 64 bytes.
enum E4m3Bug { right, forgets, keeps, half_steps, half_rows };
template <int N, E4m3Bug bug>
__global__ void product_e4m3(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, float* out, int k) {
  Shared<e4m3> tiles = shared_cast<e4m3>(dynamic_shared() + 1024);
  Shared<Mbar> full = shared_cast<Mbar>(dynamic_shared());
  const int t = static_cast<int>(threadIdx.x);
  if (t == 0) {
    mbar_init(full, 1);
    mbar_init_fence();
  }
  __syncthreads();
  float d[N / 2];
#pragma unroll
  for (int i = 0; i < N / 2; i++) d[i] = 1e6f;
  for (int round = 0; round * 128 < k; round++) {
    if (t == 0) {
      mbar_expect(full, (64 + N) * 128);
      tma_load_2d(tiles, a, round * 128, 0, full);
      tma_load_2d(tiles + 64 * 128, b, round * 128, 0, full);
    }
    mbar_wait(full, static_cast<unsigned>(round) & 1);
    wgmma_fence();
#pragma unroll
    for (int kk = 0; kk < 4; kk++) {
      const int at = (bug == half_steps ? 64 * (kk / 2) : 32 * kk) + (bug == half_rows ? 1024 * (kk % 2) : 0);
      const bool first = kk == 0 && (round == 0 || bug == forgets) && bug != keeps;
      wgmma_m64k32_e4m3<N>(d, wgmma_descriptor(tiles + at), wgmma_descriptor(tiles + (64 * 128 + 32 * kk)), !first);
    }
    wgmma_commit();
    wgmma_wait<0>();
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < N / 2; i++) out[(t / 32 * 16 + t % 32 / 4 + i % 4 / 2 * 8) * N + i / 4 * 8 + t % 4 * 2 + i % 2] = d[i];
}

template <int N, E4m3Bug bug = right>
double error_of_e4m3(int rows, int columns, int k) {
  const int stride = (k + 15) / 16 * 16;
  std::mt19937 random(static_cast<unsigned>(k));
  std::normal_distribution<float> normal(0.3f, 1);
  const auto draw = [&](int count) {
    std::vector<e4m3> out;
    for (int i = 0; i < count * stride; i++) out.push_back({static_cast<std::uint8_t>(pack4_e4m3(normal(random), 0, 0, 0))});
    return out;
  };
  const std::vector<e4m3> a = draw(rows), b = draw(columns);
  const Array<e4m3> device_a(a), device_b(b);
  double worst = 0;
  under_all_schedules([&] {
    Array<float> out(64 * N);
    device::launch("product_e4m3", product_e4m3<N, bug>, 1, 128, 1024 + (64 + N) * 128, nullptr, make_tensor_map(device_a.data(), 1, rows, k, stride, 64, 128),
                   make_tensor_map(device_b.data(), 1, columns, k, stride, N, 128), out.data(), k);
    const std::vector<float> found = out.host();
    for (int i = 0; i < 64; i++)
      for (int j = 0; j < N; j++) {
        double sum = 0;
        for (int e = 0; e < k && i < rows && j < columns; e++)
          sum += static_cast<double>(to_float(a[static_cast<std::size_t>(i * stride + e)])) * to_float(b[static_cast<std::size_t>(j * stride + e)]);
        const double difference = std::fabs(found[static_cast<std::size_t>(i * N + j)] - sum);
        worst = difference <= worst ? worst : difference;  // NaN counts
      }
  });
  return worst;
}

template <Bug bug>
std::string with_bug() {
  const Operands<bf16> o(64, 64, 256);
  Array<float> out(64 * 64);
  return caught([&] { run<64, 1, bf16, bug>(o, out); });
}

}  // namespace

TEST("wgmma: every width, in bf16 and fp16, with one and two consumer warpgroups") {
  EXPECT((error_of<64, 1, bf16>(64, 64, 64) < 1e-4));
  EXPECT((error_of<96, 2, f16>(128, 96, 128) < 1e-4));
  EXPECT((error_of<128, 1, f16>(64, 128, 192) < 1e-4));
  EXPECT((error_of<192, 2, bf16>(128, 192, 64) < 1e-4));
  EXPECT((error_of<256, 1, bf16>(64, 256, 320) < 1e-4));
}
TEST("wgmma in e4m3: 128 elements a row, 32 a product, zeros beyond the matrix; from zero where it does not accumulate") {
  EXPECT((error_of_e4m3<64>(64, 64, 128) < 1e-3));
  EXPECT((error_of_e4m3<128>(64, 128, 256) < 1e-3));
  EXPECT((error_of_e4m3<192>(50, 181, 336) < 1e-3));
}
TEST("wgmma in e4m3: a wrong step, a wrong row length and a wrong start of the sum give wrong numbers") {
  EXPECT(!(error_of_e4m3<64, forgets>(64, 64, 256) < 1));
  EXPECT(!(error_of_e4m3<64, keeps>(64, 64, 128) < 1));
  EXPECT(!(error_of_e4m3<64, half_steps>(64, 64, 128) < 1));
  EXPECT(!(error_of_e4m3<64, half_rows>(64, 64, 128) < 1));
}
TEST("TMA fills what lies beyond the matrix with zeros, in both directions") {
  EXPECT((error_of<64, 2, bf16>(77, 50, 100) < 1e-4));
  EXPECT((error_of<96, 1, f16>(3, 90, 41) < 1e-4));
}
TEST("a product not waited for shows as NaN or as a fault") {
  EXPECT(says(with_bug<no_wait>(), "wgmma"));
  EXPECT(says(with_bug<never_waited>(), "returns before wgmma_wait"));
}
TEST("an accumulator read before the wait reads as NaN") {
  const Operands<bf16> o(64, 64, 64);
  sim::set_schedule({1, true});
  Array<float> out(64 * 64 + 1);
  rt::fill(out.data(), 0, (64 * 64 + 1) * 4, nullptr);
  const std::string message = failure_of([&] { run<64, 1, bf16, early_read>(o, out); });
  sim::set_schedule({});
  EXPECT(message.empty());
  EXPECT(std::isnan(out.host()[64 * 64]) && !std::isnan(out.host()[0]));
}
TEST("products in no group are found at the wait") { EXPECT(says(with_bug<no_commit>(), "wgmma_commit is missing")); }
TEST("a missing wgmma_fence is found") { EXPECT(says(with_bug<no_fence>(), "no wgmma_fence")); }
TEST("an accumulator written while a product is under way is found") { EXPECT(says(with_bug<touched>(), "the accumulator was written")); }
TEST("a stage refilled before it was read is found") { EXPECT(says(with_bug<early_refill>(), "shared byte")); }
TEST("waiting for the wrong phase of an mbarrier is found") { EXPECT(!with_bug<wrong_parity>().empty()); }
TEST("an mbarrier without its fence is found") { EXPECT(says(with_bug<no_init_fence>(), "mbar_init_fence")); }
TEST("bytes announced that never come are a deadlock, reported with what each warp waits for") {
  EXPECT(says(with_bug<wrong_bytes>(), "deadlock: warp 0: at mbar_wait 0 (wgmma_test.cc:"));
}
TEST("an mbarrier on which nobody arrives is a deadlock") { EXPECT(says(with_bug<no_arrival>(), "warp 4: lanes 1 at mbar_wait")); }
TEST("a warp that has not waited for the copy is found") { EXPECT(says(with_bug<only_one_warp_waits>(), "shared byte")); }
