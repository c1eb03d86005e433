#include <numeric>

#include "device_case.h"

namespace {

using device_case::Array;
using signstep::kernels::keep_rows;

// Keeps each of `images` rows of `elements` with the given chance.
void compare(std::size_t images, std::size_t elements, double chance, std::size_t offset, std::mt19937& random) {
  std::vector<std::uint32_t> data(images * elements + offset);
  std::iota(data.begin(), data.end(), 1u);
  std::bernoulli_distribution keeps(chance);
  std::vector<std::int32_t> rows;
  for (std::size_t i = 0; i < images; ++i)
    if (keeps(random)) rows.push_back(static_cast<std::int32_t>(i));
  const Array<std::uint32_t> device(data);
  std::vector<std::int32_t> padded = rows;
  padded.push_back(-1);  // the array is never empty, and what lies behind is not read
  const Array<std::int32_t> device_rows(padded);
  keep_rows(device.data() + offset, static_cast<std::int64_t>(elements), device_rows.data(), static_cast<std::int32_t>(rows.size()), nullptr);
  const std::vector<std::uint32_t> out = device.host();
  bool right = true;
  for (std::size_t i = 0; i < rows.size(); ++i)
    for (std::size_t e = 0; e < elements; ++e)
      right &= out[offset + i * elements + e] == data[offset + static_cast<std::size_t>(rows[i]) * elements + e];
  for (std::size_t i = 0; i < offset; ++i) right &= out[i] == data[i];
  // A row that was neither a source nor a destination is as it was.
  for (std::size_t i = offset + rows.size() * elements; i < data.size(); ++i) right &= out[i] == data[i];
  EXPECT(right);
}

TEST("kept rows move to the front, in order, whatever their length") {
  std::mt19937 random(51);
  for (const std::size_t elements : {1, 2, 3, 4, 7, 8, 31, 64, 100, 255, 256, 1000, 1028})
    for (const double chance : {0.5, 0.9, 1.0, 0.0})
      for (const std::size_t offset : {0, 1}) {
        signstep::rt::set_schedule(static_cast<std::uint32_t>(random()));
        compare(elements == 1 ? 5000 : 70, elements, chance, offset, random);
      }
  signstep::rt::set_schedule(0);
}

TEST("kept rows do not depend on the warp order") {
  std::mt19937 random(52);
  device_case::under_schedules([&](int) { compare(200, 96, 0.6, 0, random); });
}

}  // namespace
