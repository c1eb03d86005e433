#include "perturbation_case.h"

namespace {

using namespace perturbation_case;
using signstep::kernels::start;
using signstep::kernels::StartRule;
using Kind = StartRule::Kind;

struct Draw {
  Shape shape;
  Kind kind;
  std::uint64_t seed;
  std::uint32_t restart;
  float scale;
};

// Start on the device and on the CPU with the same clean images, radii and sample indices.
void compare(const Draw& draw, Precision precision, int offset, std::mt19937& random) {
  const Shape& shape = draw.shape;
  const auto count = static_cast<std::size_t>(shape.images);
  std::uniform_real_distribution<float> unit(0, 1);
  std::vector<float> x0(shape.all()), eps(count);
  std::vector<std::int32_t> indices(count);
  for (float& value : x0) value = unit(random);
  for (std::size_t i = 0; i < count; ++i) {
    eps[i] = i == 1 ? 0.0f : draw.kind == Kind::uniform ? 0.2f * unit(random) : 3 * unit(random);
    indices[i] = static_cast<std::int32_t>(random() >> 1);
  }
  std::vector<float> expected(shape.all());
  const signstep_start on_cpu{.count = count,
                              .elements = shape.elements(),
                              .out = expected.data(),
                              .x0 = x0.data(),
                              .eps = eps.data(),
                              .sample_indices = indices.data(),
                              .seed = draw.seed,
                              .restart = draw.restart,
                              .scale = draw.scale,
                              .sphere = draw.kind == Kind::l2_sphere ? 1 : 0,
                              .cancel = nullptr};
  if (draw.kind == Kind::clean)
    expected = x0;
  else
    EXPECT((draw.kind == Kind::uniform ? cpu().start_uniform(&on_cpu) : cpu().start_l2(&on_cpu)) == SIGNSTEP_OK);

  const Array<float> device_eps(eps);
  const Array<float> norms(count);
  const Array<std::int32_t> device_indices(indices);
  const Array<std::uint64_t> seed(std::vector<std::uint64_t>{draw.seed});
  const Array<std::uint32_t> restart(std::vector<std::uint32_t>{draw.restart});
  DeviceImages device(shape, precision, &x0, nullptr, offset);
  start(device.images(),
        {.kind = draw.kind,
         .eps = device_eps.data(),
         .scale = draw.scale,
         .seed = seed.data(),
         .sample_indices = device_indices.data(),
         .restart = restart.data(),
         .norms = norms.data()},
        nullptr);
  EXPECT(same(device.x(), expected));
  EXPECT(device.operand_follows());
}

TEST("starts have the bits of the CPU core in every layout") {
  std::mt19937 random(81);
  int round = 0;
  for (const Shape& shape : kShapes)
    for (const Kind kind : {Kind::clean, Kind::uniform, Kind::l2_ball, Kind::l2_sphere}) {
      signstep::rt::set_schedule(static_cast<std::uint32_t>(round));
      const std::uint64_t seed = static_cast<std::uint64_t>(random()) << 32 | random();
      const std::uint32_t restart = round % 3 == 0 ? 0 : static_cast<std::uint32_t>(random()) >> 8;
      compare({shape, kind, seed, restart, round % 2 == 0 ? 1.0f : 2.0f}, static_cast<Precision>(round % 3), round % 5 == 4 ? 1 : 0, random);
      ++round;
    }
  signstep::rt::set_schedule(0);
}

TEST("starts do not depend on the warp order") {
  std::mt19937 random(82);
  for (const Kind kind : {Kind::uniform, Kind::l2_ball, Kind::l2_sphere})
    device_case::under_schedules([&](int) { compare({{2, 3, 80, 80, 16}, kind, 7, 1, 1}, Precision::bf16, 0, random); });
}

TEST("a uniform start of no width, and one that leaves the range of pixels, have the bits of the CPU core") {
  std::mt19937 random(83);
  for (const float scale : {0.0f, 1e-30f, 50.0f}) compare({{2, 3, 8, 8, 4}, Kind::uniform, 1, 0, scale}, Precision::fp16, 0, random);
}

TEST("the same seed, restart and sample index give the same start at another place of the batch; others another") {
  const Shape shape{3, 3, 16, 16, 8};
  std::vector<float> x0(shape.all(), 0.5f);
  const Array<float> eps(std::vector<float>(3, 0.1f)), norms(3);
  const Array<std::int32_t> indices(std::vector<std::int32_t>{9, 4, 9});
  const auto draw = [&](std::uint64_t seed, std::uint32_t restart) {
    const Array<std::uint64_t> device_seed(std::vector<std::uint64_t>{seed});
    const Array<std::uint32_t> device_restart(std::vector<std::uint32_t>{restart});
    DeviceImages device(shape, Precision::bf16, &x0, nullptr);
    start(device.images(),
          {.kind = Kind::uniform, .eps = eps.data(), .seed = device_seed.data(), .sample_indices = indices.data(), .restart = device_restart.data()},
          nullptr);
    return device.x();
  };
  const std::vector<float> one = draw(1, 0);
  const auto row = [&](std::size_t i) {
    const auto begin = one.begin() + static_cast<std::ptrdiff_t>(i * shape.elements());
    return std::vector<float>(begin, begin + static_cast<std::ptrdiff_t>(shape.elements()));
  };
  EXPECT(same(row(0), row(2)));
  EXPECT(!same(row(0), row(1)));
  EXPECT(!same(one, draw(2, 0)));
  EXPECT(!same(one, draw(1ull << 32 | 1, 0)));
  EXPECT(!same(one, draw(1, 1)));
}

TEST("finished images are not started") {
  std::mt19937 random(84);
  const Shape shape{3, 3, 80, 80, 16};
  const std::vector<float> x0(shape.all(), 0.5f);
  const Array<float> eps(std::vector<float>(3, 0.1f)), norms(3);
  const Array<std::int32_t> indices(std::vector<std::int32_t>{1, 2, 3});
  const Array<std::uint64_t> seed(std::vector<std::uint64_t>{1});
  const Array<std::uint32_t> restart(std::vector<std::uint32_t>{0});
  for (const Kind kind : {Kind::clean, Kind::uniform, Kind::l2_sphere}) {
    DeviceImages device(shape, Precision::bf16, &x0, nullptr, 0, 1);
    start(device.images(),
          {.kind = kind,
           .eps = eps.data(),
           .seed = seed.data(),
           .sample_indices = indices.data(),
           .restart = restart.data(),
           .norms = norms.data()},
          nullptr);
    const std::vector<float> x = device.x();
    bool started = true, left = true;
    for (std::size_t i = 0; i < x.size(); ++i) (i < shape.elements() ? started : left) &= std::isnan(x[i]) == (i >= shape.elements());
    EXPECT(started);
    EXPECT(left);
    EXPECT(device.operand_follows());
  }
}

}  // namespace
