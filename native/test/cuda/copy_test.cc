// Strided copies, conversion of constants and fill: exact, element by element.
#include "device_case.h"

using namespace device_case;
using signstep::kernels::Copy;
using signstep::kernels::Operand;
using signstep::program::ElementType;

namespace {

constexpr Precision kPrecisions[] = {Precision::bf16, Precision::fp16, Precision::float32};

struct Shape {
  std::vector<std::int64_t> dims, in_strides, out_strides;
  std::int64_t in_offset = 0, out_offset = 0;
};

const std::vector<Shape> kShapes = {
    {{4, 5, 16}, {80, 16, 1}, {80, 16, 1}},     // contiguous: 16 bytes a thread
    {{4, 5, 6}, {30, 6, 1}, {30, 6, 1}, 1, 3},  // 2 bytes
    {{4, 5, 8}, {80, 16, 1}, {40, 8, 1}, 8},    // a slice
    {{3, 8}, {8, 1}, {24, 1}, 0, 16},           // a part of a concatenation
    {{3, 4}, {12, 1}, {8, 1}, 4, 4},            // 8 bytes of 16-bit elements
    {{3, 6}, {12, 1}, {8, 1}, 2, 2},            // 4 bytes
    {{3, 16}, {16, 1}, {17, 1}},                // one side aligned, the other not
    {{3, 16}, {17, 1}, {16, 1}},
    {{40, 70}, {70, 1}, {1, 40}},                                 // transposed
    {{2, 3, 33, 65}, {6'435, 2'145, 65, 1}, {6'435, 33, 1, 99}},  // a permutation with both inner axes moved
    {{2, 12, 3, 16}, {576, 48, 16, 1}, {576, 16, 192, 1}},        // heads: the inner axis stays
    {{9, 5}, {5, 1}, {1, 9}},                                     // too small for a tile
    {{2, 3, 4, 2, 3, 2}, {144, 48, 12, 6, 2, 1}, {1, 2, 6, 24, 48, 144}},
    {{6, 10}, {-10, 1}, {10, 1}, 50},  // reversed
    {{6, 10}, {-1, -6}, {10, 1}, 59},
    {{7, 16}, {0, 1}, {16, 1}},  // a row repeated
    {{1, 1}, {5, 5}, {3, 3}, 2, 4},
    {{}, {}, {}},
};

std::int64_t extent(const Shape& shape, const std::vector<std::int64_t>& strides, std::int64_t offset) {
  std::int64_t last = offset;
  for (std::size_t i = 0; i < shape.dims.size(); i++) last += std::max<std::int64_t>(0, (shape.dims[i] - 1) * strides[i]);
  return last + 5;
}

// Calls body with the places of every element in in and out.
template <class Body>
void for_each(const Shape& shape, Body&& body) {
  std::int64_t count = 1;
  for (const std::int64_t dim : shape.dims) count *= dim;
  for (std::int64_t e = 0; e < count; e++) {
    std::int64_t rest = e, from = shape.in_offset, to = shape.out_offset;
    for (std::size_t i = shape.dims.size(); i-- > 0; rest /= shape.dims[i]) {
      from += rest % shape.dims[i] * shape.in_strides[i];
      to += rest % shape.dims[i] * shape.out_strides[i];
    }
    body(static_cast<std::size_t>(from), static_cast<std::size_t>(to));
  }
}

Copy arguments(const Shape& shape, Precision precision) {
  Copy args;
  args.precision = precision;
  args.rank = static_cast<std::int32_t>(shape.dims.size());
  for (std::size_t i = 0; i < shape.dims.size(); i++) {
    args.dims[i] = shape.dims[i], args.in_strides[i] = shape.in_strides[i], args.out_strides[i] = shape.out_strides[i];
  }
  args.in_offset = shape.in_offset, args.out_offset = shape.out_offset;
  return args;
}

}  // namespace

TEST("copy moves every element to its place and nothing else, converting where types differ") {
  std::mt19937 random(1);
  for (const Precision precision : kPrecisions) {
    for (const Shape& shape : kShapes) {
      for (const int types : {0, 1, 2, 3}) {
        const bool in_float = types % 2 == 1, out_float = types / 2 == 1;
        const Precision in_precision = in_float ? Precision::float32 : precision,
                        out_precision = out_float ? Precision::float32 : precision;
        const std::vector<float> host = normal(static_cast<std::size_t>(extent(shape, shape.in_strides, shape.in_offset)), 1, random, 1);
        const auto size = static_cast<std::size_t>(extent(shape, shape.out_strides, shape.out_offset));
        std::vector<float> expected(size, NAN);
        for_each(shape,
                 [&](std::size_t from, std::size_t to) { expected[to] = rounded(rounded(host[from], in_precision), out_precision); });
        const Values in(host, in_precision);
        under_schedules([&](int) {
          Values out(size, out_precision);
          Copy args = arguments(shape, precision);
          args.in = {in.data(), in_float ? ElementType::float32 : ElementType::value};
          args.out = {out.data(), out_float ? ElementType::float32 : ElementType::value};
          signstep::kernels::copy(args, nullptr);
          const std::vector<float> result = out.host();
          bool all = true;
          for (std::size_t i = 0; i < size; i++) all = all && (std::isnan(expected[i]) ? std::isnan(result[i]) : result[i] == expected[i]);
          EXPECT(all);
        });
      }
    }
  }
}

TEST("copy moves int32, and refuses to convert it") {
  for (const Shape& shape : kShapes) {
    std::vector<std::int32_t> host(static_cast<std::size_t>(extent(shape, shape.in_strides, shape.in_offset)));
    for (std::size_t i = 0; i < host.size(); i++) host[i] = static_cast<std::int32_t>(0x7F800001u + i * 65537u);
    const auto size = static_cast<std::size_t>(extent(shape, shape.out_strides, shape.out_offset));
    std::vector<std::int32_t> expected(size, -1);
    for_each(shape, [&](std::size_t from, std::size_t to) { expected[to] = host[from]; });
    const Array<std::int32_t> in(host), out(size);
    Copy args = arguments(shape, Precision::bf16);
    args.in = {in.data(), ElementType::int32}, args.out = {out.data(), ElementType::int32};
    signstep::kernels::copy(args, nullptr);
    EXPECT(out.host() == expected);
    args.out.type = ElementType::float32;
    bool refused = false;
    try {
      signstep::kernels::copy(args, nullptr);
    } catch (const signstep::rt::Failure& failure) {
      refused = failure.kind == signstep::rt::Failure::Kind::invalid;
    }
    EXPECT(refused);
  }
}

TEST("convert rounds constants to the element type, transposed or not") {
  std::mt19937 random(2);
  for (const Precision precision : kPrecisions) {
    for (const auto& [rows, columns] : {std::pair<std::size_t, std::size_t>{1, 7}, {40, 72}, {33, 65}, {100, 3}, {5, 200}}) {
      const std::vector<float> host = normal(rows, columns, random, 0.5f, 1, 7);
      const Array<float> in(host);
      for (const bool transposed : {false, true}) {
        under_schedules([&](int) {
          Values out(rows * columns, precision);
          signstep::kernels::convert(precision, in.data(), {out.data()}, static_cast<std::int64_t>(rows),
                                     static_cast<std::int64_t>(columns), transposed, nullptr);
          const std::vector<float> result = out.host();
          bool all = true;
          for (std::size_t r = 0; r < rows; r++) {
            for (std::size_t c = 0; c < columns; c++) {
              all = all && result[transposed ? c * rows + r : r * columns + c] == rounded(host[r * columns + c], precision);
            }
          }
          EXPECT(all);
        });
      }
    }
  }
}

TEST("fill writes one value into every element and no further") {
  for (const Precision precision : kPrecisions) {
    for (const std::size_t count : {std::size_t{1}, std::size_t{8}, std::size_t{77}, std::size_t{3000}}) {
      for (const std::size_t skip : {std::size_t{0}, std::size_t{1}}) {
        Values out(count + 10, precision);
        signstep::kernels::fill(precision, {static_cast<char*>(out.data()) + skip * bytes_of(precision)}, static_cast<std::int64_t>(count),
                                0.3f, nullptr);
        const std::vector<float> result = out.host();
        bool all = true;
        for (std::size_t i = 0; i < result.size(); i++) {
          all = all && (i < skip || i >= skip + count ? std::isnan(result[i]) : result[i] == rounded(0.3f, precision));
        }
        EXPECT(all);
      }
    }
  }
  const Array<std::int32_t> whole(9);
  signstep::kernels::fill(Precision::bf16, {whole.data(), ElementType::int32}, 8, 5, nullptr);
  EXPECT((whole.host() == std::vector<std::int32_t>{5, 5, 5, 5, 5, 5, 5, 5, -1}));
}
