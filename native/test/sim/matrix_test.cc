// ldmatrix and mma.sync against plain loops.
#include <algorithm>
#include <cmath>
#include <random>

#include "kernel_case.h"

namespace {

using namespace kernel_case;
using namespace signstep::device;

// out[lane][register] of the four kinds of ldmatrix on rows of 8 elements numbered 0, 1, 2, ...
__global__ void loads(std::uint32_t* out) {
  Shared<bf16> p = shared_cast<bf16>(dynamic_shared());
  const int t = static_cast<int>(threadIdx.x);
  for (int i = 0; i < 8; i++) p[t * 8 + i] = bf16{static_cast<std::uint16_t>(t * 8 + i)};
  __syncwarp();
  std::uint32_t four[4], two[2];
  ldmatrix_x4(four, p + t * 8);
  for (int i = 0; i < 4; i++) out[t * 12 + i] = four[i];
  ldmatrix_x4_trans(four, p + t * 8);
  for (int i = 0; i < 4; i++) out[t * 12 + 4 + i] = four[i];
  ldmatrix_x2(two, p + t % 16 * 8);
  for (int i = 0; i < 2; i++) out[t * 12 + 8 + i] = two[i];
  ldmatrix_x2_trans(two, shared_cast<const bf16>(p) + t % 16 * 8);
  for (int i = 0; i < 2; i++) out[t * 12 + 10 + i] = two[i];
}

// d [16,8] = c + a [16,16] . b [8,16]^T, fragments made by hand as the PTX manual draws them.
template <class T>
__global__ void multiply(const float* a, const float* b, const float* c, float* d) {
  const int g = static_cast<int>(threadIdx.x) / 4, t = static_cast<int>(threadIdx.x) % 4;
  std::uint32_t fa[4], fb[2];
  for (int r = 0; r < 4; r++) {
    const float* at = a + (g + r % 2 * 8) * 16 + 2 * t + r / 2 * 8;
    fa[r] = pack2<T>(at[0], at[1]);
  }
  for (int r = 0; r < 2; r++) fb[r] = pack2<T>(b[g * 16 + 2 * t + r * 8], b[g * 16 + 2 * t + r * 8 + 1]);
  float fd[4];
  for (int e = 0; e < 4; e++) fd[e] = c[(g + e / 2 * 8) * 8 + 2 * t + e % 2];
  mma_m16n8k16<T>(fd, fa, fb);
  for (int e = 0; e < 4; e++) d[(g + e / 2 * 8) * 8 + 2 * t + e % 2] = fd[e];
}
__global__ void multiply_tf32(const float* a, const float* b, const float* c, float* d) {
  const int g = static_cast<int>(threadIdx.x) / 4, t = static_cast<int>(threadIdx.x) % 4;
  float fd[4];
  for (int e = 0; e < 4; e++) fd[e] = c[(g + e / 2 * 8) * 8 + 2 * t + e % 2];
  for (int k = 0; k < 16; k += 8) {
    std::uint32_t fa[4], fb[2];
    for (int r = 0; r < 4; r++) fa[r] = to_tf32(a[(g + r % 2 * 8) * 16 + k + t + r / 2 * 4]);
    for (int r = 0; r < 2; r++) fb[r] = to_tf32(b[g * 16 + k + t + r * 4]);
    mma_m16n8k8_tf32(fd, fa, fb);
  }
  for (int e = 0; e < 4; e++) d[(g + e / 2 * 8) * 8 + 2 * t + e % 2] = fd[e];
}

double error_of(void (*kernel)(const float*, const float*, const float*, float*), float (*rounded)(float)) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal(0.5f, 2);
  std::vector<float> a(16 * 16), b(8 * 16), c(16 * 8);
  for (auto* all : {&a, &b, &c}) {
    for (float& value : *all) value = normal(random);
  }
  double worst = 0;
  under_all_schedules([&] {
    Array<float> da(a), db(b), dc(c), dd(16 * 8);
    device::launch("multiply", kernel, 1, 32, 0, nullptr, da.data(), db.data(), dc.data(), dd.data());
    const std::vector<float> d = dd.host();
    for (std::size_t i = 0; i < 16; i++) {
      for (std::size_t j = 0; j < 8; j++) {
        double sum = c[i * 8 + j];
        for (std::size_t k = 0; k < 16; k++) sum += static_cast<double>(rounded(a[i * 16 + k])) * rounded(b[j * 16 + k]);
        const double difference = std::fabs(d[i * 8 + j] - sum);
        worst = difference <= worst ? worst : difference;
      }
    }
  });
  return worst;
}

// The same for 32 of K in e4m3; `as_pairs`: the planted bug, halves of K where the instruction has quarters of its pairs.
template <bool as_pairs>
__global__ void multiply_e4m3(const float* a, const float* b, float* d) {
  const int g = static_cast<int>(threadIdx.x) / 4, t = static_cast<int>(threadIdx.x) % 4;
  const auto four = [](const float* row, int from, int second) { return pack4_e4m3(row[from], row[from + 1], row[second], row[second + 1]); };
  const auto word = [&](const float* row, int half) {
    const int from = as_pairs ? 2 * t + half * 8 : 4 * t + half * 16;
    return four(row, from, as_pairs ? from + 16 : from + 2);
  };
  // A wrong layout that is the same in A and B is only another order of K, so the planted bug is in A alone.
  std::uint32_t fa[4], fb[2];
  for (int r = 0; r < 4; r++) fa[r] = word(a + (g + r % 2 * 8) * 32, r / 2);
  for (int r = 0; r < 2; r++) fb[r] = four(b + g * 32, 4 * t + r * 16, 4 * t + r * 16 + 2);
  float fd[4] = {};
  mma_m16n8k32_e4m3(fd, fa, fb);
  for (int e = 0; e < 4; e++) d[(g + e / 2 * 8) * 8 + 2 * t + e % 2] = fd[e];
}

double error_of_e4m3(void (*kernel)(const float*, const float*, float*)) {
  std::mt19937 random(8);
  std::normal_distribution<float> normal(0.3f, 1);
  std::vector<float> a(16 * 32), b(8 * 32);
  for (auto* all : {&a, &b})
    for (float& value : *all) value = to_float(e4m3{static_cast<std::uint8_t>(pack4_e4m3(normal(random), 0, 0, 0))});
  double worst = 0;
  under_all_schedules([&] {
    Array<float> da(a), db(b), dd(16 * 8);
    device::launch("multiply_e4m3", kernel, 1, 32, 0, nullptr, da.data(), db.data(), dd.data());
    const std::vector<float> d = dd.host();
    for (std::size_t i = 0; i < 16; i++)
      for (std::size_t j = 0; j < 8; j++) {
        double sum = 0;
        for (std::size_t k = 0; k < 32; k++) sum += static_cast<double>(a[i * 32 + k]) * b[j * 32 + k];
        worst = std::max(worst, std::fabs(d[i * 8 + j] - sum));
      }
  });
  return worst;
}

}  // namespace

TEST("ldmatrix gives each lane its part of four or two matrices, transposed or not") {
  under_all_schedules([] {
    Array<std::uint32_t> out(32 * 12);
    EXPECT(failure_of([&] { device::launch("loads", loads, 1, 32, 512, nullptr, out.data()); }).empty());
    const std::vector<std::uint32_t> found = out.host();
    bool right = true;
    for (std::uint32_t t = 0; t < 32; t++) {
      for (std::uint32_t i = 0; i < 4; i++) {
        const std::uint32_t plain = i * 64 + t / 4 * 8 + t % 4 * 2, turned = i * 64 + t % 4 * 16 + t / 4;
        const std::uint32_t expected = plain | (plain + 1) << 16, expected_turned = turned | (turned + 8) << 16;
        right = right && found[t * 12 + i] == expected && found[t * 12 + 4 + i] == expected_turned;
        if (i < 2) right = right && found[t * 12 + 8 + i] == expected && found[t * 12 + 10 + i] == expected_turned;
      }
    }
    EXPECT(right);
  });
}
TEST("mma.sync in e4m3: bytes where 16-bit types have elements, 32 of K; fragments laid out as for those are wrong") {
  EXPECT(error_of_e4m3(multiply_e4m3<false>) < 1e-4);
  EXPECT(error_of_e4m3(multiply_e4m3<true>) > 0.1);
}
TEST("mma.sync in bf16, fp16 and tf32") {
  EXPECT(error_of(multiply<bf16>, [](float x) { return to_float(from_float<bf16>(x)); }) < 1e-4);
  EXPECT(error_of(multiply<f16>, [](float x) { return to_float(from_float<f16>(x)); }) < 1e-4);
  EXPECT(error_of(multiply_tf32, [](float x) { return __uint_as_float(to_tf32(x)); }) < 1e-4);
}
