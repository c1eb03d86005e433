// Batched products with any strides against float64.
#include "device_case.h"

using namespace device_case;
using signstep::kernels::BatchedMatmul;
using signstep::program::ElementType;

namespace {

constexpr Precision kPrecisions[] = {Precision::bf16, Precision::fp16, Precision::float32};

struct Shape {
  std::int32_t m, n, k;
  std::int64_t batch[3], a_batch[3], b_batch[3];
  std::int64_t a_row, a_column, b_row, b_column;
};

const Shape kShapes[] = {
    {64, 64, 32, {1, 1, 2}, {0, 0, 2048}, {0, 0, 2048}, 32, 1, 64, 1},        // whole tiles
    {70, 65, 37, {1, 2, 2}, {0, 5180, 2590}, {0, 4810, 2405}, 37, 1, 65, 1},  // ragged
    {33, 49, 20, {2, 3, 1}, {60, 20, 0}, {60, 20, 0}, 120, 1, 1, 120},        // q k^T with heads side by side
    {17, 20, 33, {2, 3, 1}, {1683, 561, 0}, {60, 20, 0}, 33, 1, 120, 1},      // p v
    {20, 17, 33, {1, 1, 3}, {0, 0, 660}, {0, 0, 0}, 1, 20, 17, 1},            // a transposed, b shared by the batch
    {1, 5, 100, {2, 1, 1}, {0, 0, 0}, {500, 0, 0}, 0, 1, 5, 1},               // a row, broadcast
    {3, 1, 1, {1, 1, 1}, {0, 0, 0}, {0, 0, 0}, 1, 1, 1, 1},
    {4, 6, 0, {1, 1, 1}, {0, 0, 0}, {0, 0, 0}, 0, 1, 6, 1},  // sums of nothing
};

std::size_t extent(const std::int64_t (&batch)[3], const std::int64_t (&strides)[3], std::int64_t rows, std::int64_t row,
                   std::int64_t columns, std::int64_t column) {
  std::int64_t last = (rows > 0 ? (rows - 1) * row : 0) + (columns > 0 ? (columns - 1) * column : 0);
  for (int i = 0; i < 3; i++) last += (batch[i] - 1) * strides[i];
  return static_cast<std::size_t>(last + 1);
}

}  // namespace

TEST("batched_matmul is within rounding of the exact product for any strides and element types") {
  std::mt19937 random(1);
  for (const Precision precision : kPrecisions) {
    for (const Shape& s : kShapes) {
      for (const int types : {0, 1, 2, 4, 7}) {
        const bool a_float = types & 1, b_float = types & 2, out_float = types & 4;
        const Precision a_precision = a_float ? Precision::float32 : precision, b_precision = b_float ? Precision::float32 : precision,
                        out_precision = out_float ? Precision::float32 : precision;
        std::vector<float> a = normal(extent(s.batch, s.a_batch, s.m, s.a_row, s.k, s.a_column), 1, random, 0.5f, 1, 61);
        std::vector<float> b = normal(extent(s.batch, s.b_batch, s.k, s.b_row, s.n, s.b_column), 1, random, 0.1f);
        for (float& value : a) value = rounded(value, a_precision);
        for (float& value : b) value = rounded(value, b_precision);
        constexpr float kAlpha = 0.125f;
        std::vector<double> expected;
        for (std::int64_t i0 = 0; i0 < s.batch[0]; i0++) {
          for (std::int64_t i1 = 0; i1 < s.batch[1]; i1++) {
            for (std::int64_t i2 = 0; i2 < s.batch[2]; i2++) {
              for (std::int64_t m = 0; m < s.m; m++) {
                for (std::int64_t n = 0; n < s.n; n++) {
                  double sum = 0;
                  for (std::int64_t k = 0; k < s.k; k++) {
                    const std::int64_t at_a = i0 * s.a_batch[0] + i1 * s.a_batch[1] + i2 * s.a_batch[2] + m * s.a_row + k * s.a_column;
                    const std::int64_t at_b = i0 * s.b_batch[0] + i1 * s.b_batch[1] + i2 * s.b_batch[2] + k * s.b_row + n * s.b_column;
                    sum += static_cast<double>(a[static_cast<std::size_t>(at_a)]) * static_cast<double>(b[static_cast<std::size_t>(at_b)]);
                  }
                  expected.push_back(static_cast<double>(kAlpha) * sum);
                }
              }
            }
          }
        }
        const Values a_in(a, a_precision), b_in(b, b_precision);
        under_schedules(
            [&](int) {
              Values out(expected.size(), out_precision);
              BatchedMatmul args;
              args.precision = precision;
              args.a = {a_in.data(), a_float ? ElementType::float32 : ElementType::value};
              args.b = {b_in.data(), b_float ? ElementType::float32 : ElementType::value};
              args.out = {out.data(), out_float ? ElementType::float32 : ElementType::value};
              args.m = s.m, args.n = s.n, args.k = s.k, args.alpha = kAlpha;
              for (int i = 0; i < 3; i++) args.batch[i] = s.batch[i], args.a_batch[i] = s.a_batch[i], args.b_batch[i] = s.b_batch[i];
              args.a_row = s.a_row, args.a_column = s.a_column, args.b_row = s.b_row, args.b_column = s.b_column;
              signstep::kernels::batched_matmul(args, nullptr);
              EXPECT(relative_error(out.host(), expected) <= 1.5 * rounding_error(expected, out_precision) + 2e-6);
            },
            types == 0 || types == 1 ? 4 : 1);
      }
    }
  }
}
