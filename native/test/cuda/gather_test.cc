// Gather, and its gradient scatter_add.
#include "device_case.h"

using namespace device_case;
using signstep::kernels::Gather;
using signstep::program::ElementType;

namespace {

constexpr Precision kPrecisions[] = {Precision::bf16, Precision::fp16, Precision::float32};

struct Shape {
  std::size_t outer, axis, inner, count;
};
const Shape kShapes[] = {{3, 5, 16, 4}, {3, 5, 7, 4}, {1, 10, 1, 6}, {2, 4, 300, 1}, {1, 13, 3, 700}, {70, 3, 8, 2}, {2, 6, 1, 129}};

// Every third counts from the end.
std::vector<std::int32_t> indices_of(const Shape& shape, std::mt19937& random) {
  std::vector<std::int32_t> indices(shape.count);
  for (std::size_t i = 0; i < shape.count; i++) {
    indices[i] = static_cast<std::int32_t>(random() % shape.axis) - (i % 3 == 2 ? static_cast<std::int32_t>(shape.axis) : 0);
  }
  return indices;
}
std::size_t resolved(std::int32_t index, std::size_t axis) {
  return index < 0 ? axis - static_cast<std::size_t>(-index) : static_cast<std::size_t>(index);
}

Gather arguments(const Shape& shape, Precision precision, const std::int32_t* indices) {
  Gather args;
  args.precision = precision, args.indices = indices;
  args.outer = static_cast<std::int64_t>(shape.outer), args.axis = static_cast<std::int64_t>(shape.axis);
  args.inner = static_cast<std::int64_t>(shape.inner), args.count = static_cast<std::int64_t>(shape.count);
  return args;
}

}  // namespace

TEST("gather picks rows along an axis, in either element type") {
  std::mt19937 random(1);
  for (const Precision precision : kPrecisions) {
    for (const Shape& shape : kShapes) {
      for (const int types : {0, 1, 2, 3}) {
        const bool in_float = types % 2 == 1, out_float = types / 2 == 1;
        const Precision in_precision = in_float ? Precision::float32 : precision,
                        out_precision = out_float ? Precision::float32 : precision;
        const std::vector<float> host = normal(shape.outer * shape.axis, shape.inner, random, 1);
        const std::vector<std::int32_t> indices = indices_of(shape, random);
        std::vector<float> expected;
        for (std::size_t o = 0; o < shape.outer; o++) {
          for (const std::int32_t index : indices) {
            for (std::size_t c = 0; c < shape.inner; c++) {
              expected.push_back(
                  rounded(rounded(host[(o * shape.axis + resolved(index, shape.axis)) * shape.inner + c], in_precision), out_precision));
            }
          }
        }
        const Values in(host, in_precision);
        const Array<std::int32_t> list(indices);
        under_schedules([&](int) {
          Values out(expected.size(), out_precision);
          Gather args = arguments(shape, precision, list.data());
          args.in = {in.data(), in_float ? ElementType::float32 : ElementType::value};
          args.out = {out.data(), out_float ? ElementType::float32 : ElementType::value};
          signstep::kernels::gather(args, nullptr);
          EXPECT(test::same_bits(out.host(), expected));
        });
      }
    }
  }
}

TEST("scatter_add sums in the order of the index list, and writes zeros where nothing goes") {
  std::mt19937 random(2);
  for (const Precision precision : kPrecisions) {
    for (const Shape& shape : kShapes) {
      for (const bool as_float : {false, true}) {
        const std::vector<float> host = normal(shape.outer * shape.count, shape.inner, random, 1, 1, 7);
        const std::vector<std::int32_t> indices = indices_of(shape, random);
        const Precision out_precision = as_float ? Precision::float32 : precision;
        std::vector<float> expected(shape.outer * shape.axis * shape.inner, 0.0f);  // float32 sums in order: equal to the last bit
        for (std::size_t o = 0; o < shape.outer; o++) {
          for (std::size_t i = 0; i < shape.count; i++) {
            for (std::size_t c = 0; c < shape.inner; c++) {
              expected[(o * shape.axis + resolved(indices[i], shape.axis)) * shape.inner + c] +=
                  rounded(host[(o * shape.count + i) * shape.inner + c], precision);
            }
          }
        }
        for (float& value : expected) value = rounded(value, out_precision);
        const Values in(host, precision);
        const Array<std::int32_t> list(indices);
        under_schedules([&](int) {
          Values out(expected.size(), out_precision);
          Gather args = arguments(shape, precision, list.data());
          args.in = {in.data()};
          args.out = {out.data(), as_float ? ElementType::float32 : ElementType::value};
          signstep::kernels::scatter_add(args, nullptr);
          EXPECT(test::same_bits(out.host(), expected));
        });
      }
    }
  }
}

TEST("an index beyond the axis reads zeros and adds nothing") {
  const Values in(std::vector<float>{1, 2, 3, 4, 5, 6}, Precision::float32);
  Values gathered(6, Precision::float32), scattered(6, Precision::float32);
  const Array<std::int32_t> list(std::vector<std::int32_t>{3, 1, -4});
  Gather args = arguments({1, 3, 2, 3}, Precision::float32, list.data());
  args.in = {in.data()}, args.out = {gathered.data()};
  signstep::kernels::gather(args, nullptr);
  EXPECT((gathered.host() == std::vector<float>{0, 0, 3, 4, 0, 0}));
  args.out = {scattered.data()};
  signstep::kernels::scatter_add(args, nullptr);
  EXPECT((scattered.host() == std::vector<float>{0, 0, 3, 4, 0, 0}));
}
