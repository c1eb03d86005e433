#include "perturbation_case.h"

namespace {

using namespace perturbation_case;
using signstep::kernels::remember;

constexpr float kInfinity = __builtin_inff(), kNan = __builtin_nanf("");

TEST("the iterate of the best loss is kept, per image, in either direction; NaN is never better") {
  std::mt19937 random(61);
  for (const Shape shape : {Shape{7, 3, 8, 8, 4}, Shape{7, 1, 5, 7, 0}, Shape{7, 3, 32, 32, 16}})
    for (const int direction : {1, -1})
      for (const std::int32_t live : {-1, 5})
        device_case::under_schedules([&](int) {
          const auto d = static_cast<float>(direction);
          const std::vector<float> x = device_case::normal(1, shape.all(), random), best = device_case::normal(1, shape.all(), random);
          const std::vector<float> value{2 * d, 1 * d, 1 * d, kNan, d * kInfinity, -3 * d, 5 * d};
          const std::vector<float> before{1 * d, 2 * d, 1 * d, 0, 0, -d * kInfinity, kNan};
          const bool better[] = {true, false, false, false, true, live < 0, false};
          DeviceImages device(shape, Precision::bf16, nullptr, &x, 0, live);
          const DeviceFloats device_best(shape, best);
          const Array<float> device_value(value), best_value(before);
          remember(device.images(), device_value.data(), best_value.data(), device_best.data(), direction, nullptr);
          std::vector<float> expected = best, expected_value = before;
          for (std::size_t i = 0; i < 7; ++i) {
            if (!better[i]) continue;
            expected_value[i] = value[i];
            for (std::size_t e = i * shape.elements(); e < (i + 1) * shape.elements(); ++e) expected[e] = x[e];
          }
          EXPECT(same(device_best.planes(), expected));
          EXPECT(same(best_value.host(), expected_value));
          EXPECT(same(device.x(), x));
        });
}

}  // namespace
