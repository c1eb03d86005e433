#include "perturbation_case.h"

namespace {

using namespace perturbation_case;
using signstep::kernels::export_images;
using signstep::kernels::import_images;

TEST("images are laid out as the model's first product reads them, and come back as they were") {
  std::mt19937 random(71);
  int round = 0;
  for (const Shape& shape : kShapes)
    for (const int offset : {0, 1})
      device_case::under_schedules([&](int) {
        const Precision precision = static_cast<Precision>(round++ % 3);
        const std::vector<float> planes = device_case::normal(1, shape.all(), random, 0.4f, 0.3f);
        const Array<float> given(planes);
        DeviceImages device(shape, precision, nullptr, nullptr, offset);
        import_images(device.images(), const_cast<float*>(device.images().x0), given.data(), nullptr);
        EXPECT(same(device.x(), planes));
        EXPECT(same(device.x0(), planes));
        EXPECT(device.operand_follows());
        Array<float> back(shape.all() + 1);
        export_images(device.images(), device.images().x, back.data() + offset, nullptr);
        std::vector<float> out = back.host();
        out.erase(out.begin() + (offset == 0 ? static_cast<std::ptrdiff_t>(shape.all()) : 0));
        EXPECT(same(out, planes));
      });
}

TEST("finished images are neither imported nor exported") {
  std::mt19937 random(72);
  const Shape shape{3, 3, 8, 8, 4};
  const std::vector<float> planes = device_case::normal(1, shape.all(), random, 0.4f, 0.3f);
  const Array<float> given(planes);
  DeviceImages device(shape, Precision::bf16, nullptr, nullptr, 0, 2);
  import_images(device.images(), const_cast<float*>(device.images().x0), given.data(), nullptr);
  std::vector<float> expected = planes;
  for (std::size_t i = 2 * shape.elements(); i < shape.all(); ++i) expected[i] = __builtin_nanf("");
  EXPECT(same(device.x(), expected));
  EXPECT(same(device.x0(), expected));
  EXPECT(device.operand_follows());
  Array<float> back(shape.all());
  export_images(device.images(), device.images().x, back.data(), nullptr);
  EXPECT(same(back.host(), expected));
}

TEST("shapes that cannot be laid out are refused") {
  const Shape shape{1, 3, 8, 8, 0};
  DeviceImages device(shape, Precision::bf16, nullptr, nullptr);
  const auto refused = [&](Images images) {
    try {
      export_images(images, images.x, images.x, nullptr);
    } catch (const signstep::rt::Failure& failure) {
      return failure.kind == signstep::rt::Failure::Kind::invalid;
    }
    return false;
  };
  Images images = device.images();
  images.patch = 3;
  EXPECT(refused(images));
  images = device.images();
  images.channels = 0;
  EXPECT(refused(images));
  images = device.images();
  images.channels = images.height = images.width = 2048;
  EXPECT(refused(images));
}

}  // namespace
