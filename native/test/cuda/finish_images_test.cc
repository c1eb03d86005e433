#include <algorithm>

#include "perturbation_case.h"

namespace {

using device_case::Array;
using signstep::kernels::finish_images;
using signstep::kernels::Images;

TEST("iterates that fool the model go to the places of their images, the others nowhere") {
  std::mt19937 random(61);
  for (const std::int32_t side : {3, 8, 40})
    for (const std::int32_t live_count : {0, 1, 3, 4}) {
      Images images;
      images.images = 4, images.channels = 3, images.height = side, images.width = side;
      const auto elements = static_cast<std::size_t>(images.elements());
      std::vector<float> pixels(4 * elements);
      for (float& pixel : pixels) pixel = std::uniform_real_distribution<float>()(random);
      const Array<float> x(pixels), finished(std::vector<float>(6 * elements, -1.0f));
      const Array<std::uint8_t> fooled(std::vector<std::uint8_t>{1, 0, 1, 1});
      const std::vector<std::int32_t> order{0, 2, 3, 5};
      const Array<std::int32_t> device_order(order), live(std::vector<std::int32_t>{live_count});
      images.x = x.data();
      images.live = live.data();
      finish_images(images, fooled.data(), device_order.data(), finished.data(), nullptr);
      std::vector<float> expected(6 * elements, -1.0f);
      for (std::size_t i = 0; i < static_cast<std::size_t>(live_count); ++i)
        if (i != 1)
          std::copy_n(pixels.begin() + static_cast<std::ptrdiff_t>(i * elements), elements,
                      expected.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(order[i]) * elements));
      EXPECT(finished.host() == expected);
    }
}

}  // namespace
