#include "device_case.h"

namespace {

using device_case::Array;
using signstep::kernels::surviving_rows;

TEST("the images that are not fooled are listed in order") {
  std::mt19937 random(41);
  for (const std::size_t images : {1, 2, 31, 32, 33, 1000, 1024, 1025, 4096, 5000})
    for (const double chance : {0.0, 0.3, 1.0}) {
      signstep::rt::set_schedule(static_cast<std::uint32_t>(random()));
      std::bernoulli_distribution is_fooled(chance);
      std::vector<std::uint8_t> fooled(images);
      std::vector<std::int32_t> expected;
      for (std::size_t i = 0; i < images; ++i) {
        fooled[i] = is_fooled(random) ? 1 : 0;
        if (fooled[i] == 0) expected.push_back(static_cast<std::int32_t>(i));
      }
      const Array<std::uint8_t> device(fooled);
      const Array<std::int32_t> rows(images), live(std::vector<std::int32_t>{static_cast<std::int32_t>(images)}), left(1);
      surviving_rows(device.data(), live.data(), rows.data(), left.data(), nullptr);
      EXPECT(live.host()[0] == static_cast<std::int32_t>(expected.size()));
      EXPECT(left.host() == live.host());
      std::vector<std::int32_t> found = rows.host();
      for (std::size_t i = expected.size(); i < images; ++i) EXPECT(found[i] == -1);
      found.resize(expected.size());
      EXPECT(found == expected);
    }
  signstep::rt::set_schedule(0);
}

TEST("flags of images that have left before do not count") {
  const Array<std::uint8_t> fooled(std::vector<std::uint8_t>{0, 1, 0, 0, 0});
  const Array<std::int32_t> rows(5), live(std::vector<std::int32_t>{3}), left(1);
  surviving_rows(fooled.data(), live.data(), rows.data(), left.data(), nullptr);
  EXPECT(live.host()[0] == 2);
  EXPECT((rows.host() == std::vector<std::int32_t>{0, 2, -1, -1, -1}));
}

TEST("no images have no survivors") {
  const Array<std::uint8_t> fooled(1);
  const Array<std::int32_t> rows(1), live(std::vector<std::int32_t>{0}), left(1);
  surviving_rows(fooled.data(), live.data(), rows.data(), left.data(), nullptr);
  EXPECT(live.host()[0] == 0 && left.host()[0] == 0);
}

}  // namespace
