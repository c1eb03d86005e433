#include <algorithm>
#include <deque>

#include "device_case.h"

namespace {

using device_case::Array;
using signstep::kernels::keep_rows;
using signstep::kernels::KeptRows;

// A row of `bytes` for each of `images`, from `offset` bytes on.
struct Rows {
  std::size_t bytes, offset;
  std::vector<std::uint8_t> before;
  Array<std::uint8_t> device;

  Rows(std::size_t images, std::size_t each, std::size_t from, std::mt19937& random)
      : bytes(each), offset(from), before(numbers(images * each + from, random)), device(before) {}
  static std::vector<std::uint8_t> numbers(std::size_t count, std::mt19937& random) {
    std::vector<std::uint8_t> values(count);
    for (auto& value : values) value = static_cast<std::uint8_t>(random());
    return values;
  }
  bool moved(const std::vector<std::int32_t>& rows) const {
    std::vector<std::uint8_t> expected = before;
    for (std::size_t i = 0; i < rows.size(); ++i)
      std::copy_n(before.begin() + static_cast<std::ptrdiff_t>(offset + static_cast<std::size_t>(rows[i]) * bytes), bytes,
                  expected.begin() + static_cast<std::ptrdiff_t>(offset + i * bytes));
    return device.host() == expected;
  }
};

// Keeps each of `images` rows with the given chance, in arrays of every kind of row at once.
void compare(std::size_t images, const std::vector<std::size_t>& bytes, double chance, std::mt19937& random) {
  std::bernoulli_distribution keeps(chance);
  std::vector<std::int32_t> rows;
  for (std::size_t i = 0; i < images; ++i)
    if (keeps(random)) rows.push_back(static_cast<std::int32_t>(i));
  std::vector<std::int32_t> padded = rows;
  padded.push_back(-1);  // the array is never empty, and what lies behind is not read
  const Array<std::int32_t> device_rows(padded), count(std::vector<std::int32_t>{static_cast<std::int32_t>(rows.size())});
  std::deque<Rows> arrays;
  for (const std::size_t each : bytes) arrays.emplace_back(images, each, 4 * (random() % 2), random);
  KeptRows kept;
  kept.rows = device_rows.data();
  kept.count = count.data();
  for (const Rows& array : arrays) kept.add(array.device.data() + array.offset, static_cast<std::int64_t>(array.bytes));
  keep_rows(kept, nullptr);
  for (const Rows& array : arrays) EXPECT(array.moved(rows));
}

TEST("kept rows move to the front, in order, whatever their length") {
  std::mt19937 random(51);
  for (const std::vector<std::size_t>& bytes : {std::vector<std::size_t>{4, 8, 12, 16, 28}, {32, 124, 256, 400}, {1020, 1024}, {4000, 4112, 2}, {6, 14, 66}})
    for (const double chance : {0.5, 0.9, 1.0, 0.0}) {
      signstep::rt::set_schedule(static_cast<std::uint32_t>(random()));
      compare(70, bytes, chance, random);
    }
  compare(5000, {4}, 0.5, random);
  signstep::rt::set_schedule(0);
}

TEST("kept rows do not depend on the warp order") {
  std::mt19937 random(52);
  device_case::under_schedules([&](int) { compare(200, {384, 192, 4}, 0.6, random); });
}

TEST("rows of an odd number of bytes are refused") {
  KeptRows kept;
  kept.add(nullptr, 3);
  bool refused = false;
  try {
    keep_rows(kept, nullptr);
  } catch (const signstep::rt::Failure& failure) {
    refused = failure.kind == signstep::rt::Failure::Kind::invalid;
  }
  EXPECT(refused);
}

}  // namespace
