#include "perturbation_case.h"

namespace {

using namespace perturbation_case;
using signstep::kernels::step;
using signstep::kernels::step_scratch_doubles;
using signstep::kernels::StepRule;
using Kind = StepRule::Kind;

constexpr float kInfinity = __builtin_inff();

// Arrays in planes order.
struct Numbers {
  std::vector<float> x, x0, gradient, momentum, alpha, eps;
};

enum class Gradients { ordinary, zero, tiny, huge, useless };

// Iterates within twice the ball, gradients over many magnitudes with zeros, NaN and infinities among them.
Numbers numbers(const Shape& shape, Kind kind, Gradients gradients, std::mt19937& random) {
  std::uniform_real_distribution<float> unit(0, 1);
  Numbers n{std::vector<float>(shape.all()), std::vector<float>(shape.all()), std::vector<float>(shape.all()), std::vector<float>(shape.all()), {}, {}};
  for (std::int32_t i = 0; i < shape.images; ++i) {
    n.eps.push_back(kind == Kind::l2 ? 0.2f + 2 * unit(random) : 0.001f + 0.1f * unit(random));
    n.alpha.push_back(n.eps.back() * unit(random));
  }
  for (std::size_t i = 0; i < n.x.size(); ++i) {
    const float reach = kind == Kind::l2 ? 0.05f : 2 * n.eps[i / shape.elements()];
    n.x0[i] = unit(random);
    n.x[i] = n.x0[i] + reach * (2 * unit(random) - 1);
    n.momentum[i] = 2 * unit(random) - 1;
    const float choice = unit(random), sign = unit(random) < 0.5f ? -1.0f : 1.0f;
    switch (gradients) {
      case Gradients::zero: n.gradient[i] = choice < 0.5f ? 0.0f : -0.0f; break;
      case Gradients::tiny: n.gradient[i] = sign * 1e-42f * choice; break;
      case Gradients::huge: n.gradient[i] = sign * 3.4e38f * choice; break;
      case Gradients::useless: n.gradient[i] = choice < 0.5f ? __builtin_nanf("") : sign * kInfinity; break;
      case Gradients::ordinary:
        n.gradient[i] = choice < 0.01f   ? __builtin_nanf("")
                        : choice < 0.02f ? sign * kInfinity
                        : choice < 0.1f  ? 0.0f
                                         : sign * std::exp2(40 * unit(random) - 30);
    }
  }
  return n;
}

struct Options {
  float decay = 0.9f;
  int direction = 1;
  Precision precision = Precision::bf16;
  int offset = 0;
  std::int32_t live = -1;
  bool hold = false;  // every other image
};

void compare(const Shape& shape, Kind kind, const Numbers& n, const Options& options) {
  const auto count = static_cast<std::size_t>(shape.images);
  Numbers expected = n;
  std::vector<std::int32_t> nan(count, -1);
  std::vector<std::uint8_t> zero(count, 9);
  const signstep_step on_cpu{.count = count,
                             .elements = shape.elements(),
                             .x = expected.x.data(),
                             .x0 = n.x0.data(),
                             .gradient = n.gradient.data(),
                             .momentum = kind == Kind::momentum ? expected.momentum.data() : nullptr,
                             .alpha = n.alpha.data(),
                             .eps = n.eps.data(),
                             .decay = options.decay,
                             .direction = options.direction,
                             .nan_counts = nan.data(),
                             .zero_flags = zero.data(),
                             .cancel = nullptr};
  EXPECT((kind == Kind::linf ? cpu().step_linf : kind == Kind::l2 ? cpu().step_l2 : cpu().step_momentum)(&on_cpu) == SIGNSTEP_OK);

  std::vector<float> alpha = n.alpha;
  for (float& size : alpha) size *= static_cast<float>(options.direction);
  std::vector<std::uint8_t> held(count, 0);
  if (options.hold)
    for (std::size_t i = 0; i < count; i += 2) held[i] = 1;
  const std::size_t live = options.live < 0 ? count : static_cast<std::size_t>(options.live);
  for (std::size_t i = 0; i < count; ++i)
    for (std::size_t e = i * shape.elements(); e < (i + 1) * shape.elements(); ++e)
      if (i >= live || held[i] != 0) expected.x[e] = n.x[e], expected.momentum[e] = n.momentum[e];

  DeviceImages device(shape, options.precision, &n.x0, &n.x, options.offset, options.live);
  const DeviceFloats gradient(shape, n.gradient, options.offset), momentum(shape, n.momentum, options.offset);
  const Array<float> device_alpha(alpha), device_eps(n.eps);
  const Array<std::uint8_t> hold(held);
  const Array<std::int32_t> device_nan(count), nonzero(count);
  const Array<double> sums(static_cast<std::size_t>(step_scratch_doubles(shape.images, static_cast<std::int64_t>(shape.elements()))));
  step(device.images(),
       {.kind = kind,
        .gradient = gradient.data(),
        .alpha = device_alpha.data(),
        .eps = device_eps.data(),
        .decay = options.decay,
        .momentum = kind == Kind::momentum ? momentum.data() : nullptr,
        .hold = options.hold ? hold.data() : nullptr,
        .nan_count = device_nan.data(),
        .nonzero = nonzero.data(),
        .sums = sums.data()},
       nullptr);
  EXPECT(same(device.x(), expected.x));
  if (kind == Kind::momentum) EXPECT(same(momentum.planes(), expected.momentum));
  if (!options.hold) EXPECT(device.operand_follows());
  const std::vector<std::int32_t> found_nan = device_nan.host(), found_nonzero = nonzero.host();
  for (std::size_t i = 0; i < count; ++i) {
    EXPECT(found_nan[i] == (i < live ? nan[i] : -1));
    EXPECT(found_nonzero[i] == (i < live ? 1 - zero[i] : -1));
  }
}

constexpr Kind kKinds[] = {Kind::linf, Kind::l2, Kind::momentum};

TEST("steps have the bits of the CPU core in every layout") {
  std::mt19937 random(91);
  std::uint32_t round = 0;
  for (const Shape& shape : kShapes)
    for (const Kind kind : kKinds) {
      signstep::rt::set_schedule(round);
      Options options{.direction = round % 2 == 0 ? 1 : -1, .precision = static_cast<Precision>(round % 3), .offset = round % 5 == 4 ? 1 : 0};
      compare(shape, kind, numbers(shape, kind, Gradients::ordinary, random), options);
      ++round;
    }
  signstep::rt::set_schedule(0);
}

TEST("steps do not depend on the warp order") {
  std::mt19937 random(92);
  const Shape shape{2, 3, 80, 80, 16};
  for (const Kind kind : kKinds)
    device_case::under_schedules([&](int) { compare(shape, kind, numbers(shape, kind, Gradients::ordinary, random), {}); });
}

// Sums are float64 and what is made of them float32, so their order hardly ever shows. Here it does: the mean lies between two floats but for
// elements so small that each is lost when it is added to the largest one, and not when they are added to each other first.
TEST("sums are added in the order of the CPU core, in every layout") {
  std::mt19937 random(99);
  for (const Shape& shape : {Shape{1, 2, 256, 256, 0}, Shape{1, 2, 256, 256, 16}, Shape{1, 2, 256, 256, 2}, Shape{1, 2, 256, 256, 1}})
    for (int round = 0; round < 30; ++round) {
      Numbers n = numbers(shape, Kind::momentum, Gradients::zero, random);
      const std::size_t run = 16384, lanes = 16, runs = shape.elements() / run;
      const auto below = [&](std::size_t bound) { return std::uniform_int_distribution<std::size_t>(0, bound - 1)(random); };
      const std::size_t of_run = below(runs), of_lane = below(lanes), row = 1 + below(run / lanes - 2);
      const auto at = [&](std::size_t r, std::size_t place, std::size_t lane) -> float& { return n.gradient[r * run + place * lanes + lane]; };
      const float small = 0x1.8p-54f;
      switch (round % 5) {
        case 0:  // after it in its lane: lost
          for (std::size_t i = row + 1; i < run / lanes; ++i) at(of_run, i, of_lane) = small;
          break;
        case 1:  // before it in its lane
          for (std::size_t i = 0; i < row; ++i) at(of_run, i, of_lane) = small;
          break;
        case 2: {  // one in each of two other lanes: lost unless those are added to each other first
          const std::size_t one = 1 + below(lanes - 1), other = 1 + (one + below(lanes - 2)) % (lanes - 1);
          for (const std::size_t away : {one, other}) at(of_run, below(run / lanes), (of_lane + away) % lanes) = small;
          break;
        }
        case 3:  // one in each of some runs
          for (std::size_t r = 0; r < runs; ++r)
            if (r != of_run && below(4) != 0) at(r, below(run / lanes), below(lanes)) = small;
          break;
        default:  // anywhere
          for (int i = 0; i < 40; ++i) at(below(runs), below(run / lanes), below(lanes)) = small;
      }
      at(of_run, row - 1, of_lane) = 0x1p-24f;
      at(of_run, row, of_lane) = 1;
      compare(shape, Kind::momentum, n, {.decay = 0, .precision = Precision::float32});
    }
}

TEST("gradients of zeros, of subnormals, of the largest floats and of no number have the bits of the CPU core") {
  std::mt19937 random(93);
  const Shape shape{2, 3, 16, 16, 8};
  for (const Kind kind : kKinds)
    for (const Gradients gradients : {Gradients::zero, Gradients::tiny, Gradients::huge, Gradients::useless})
      compare(shape, kind, numbers(shape, kind, gradients, random), {.decay = 1, .precision = Precision::fp16});
}

TEST("no projection, a ball of no size and a step of no size have the bits of the CPU core") {
  std::mt19937 random(94);
  const Shape shape{4, 3, 8, 8, 4};
  for (const Kind kind : kKinds) {
    Numbers n = numbers(shape, kind, Gradients::ordinary, random);
    n.eps = {kInfinity, -1.0f, 0.0f, n.eps[3]};
    n.alpha[3] = 0;
    compare(shape, kind, n, {.precision = Precision::float32});
    compare(shape, kind, n, {.direction = -1});
  }
}

TEST("a NaN pixel stays NaN and pixels out of range are clamped as by the CPU core") {
  std::mt19937 random(95);
  const Shape shape{2, 3, 8, 8, 4};
  for (const Kind kind : kKinds) {
    Numbers n = numbers(shape, kind, Gradients::ordinary, random);
    n.x[5] = __builtin_nanf(""), n.x[6] = 7.0f, n.x[7] = -7.0f, n.x[8] = kInfinity;
    compare(shape, kind, n, {});
  }
}

TEST("finished images and images on hold do not move, and only images on hold are reported on") {
  std::mt19937 random(96);
  for (const Shape& shape : {Shape{4, 3, 8, 8, 4}, Shape{3, 3, 80, 80, 0}})
    for (const Kind kind : kKinds) {
      const Numbers n = numbers(shape, kind, Gradients::ordinary, random);
      compare(shape, kind, n, {.live = 2});
      compare(shape, kind, n, {.live = 0});
      compare(shape, kind, n, {.hold = true});
      compare(shape, kind, n, {.live = 2, .hold = true});
    }
}

TEST("a step asked for no report and no operand moves the same") {
  std::mt19937 random(97);
  const Shape shape{2, 3, 8, 8, 4};
  const Numbers n = numbers(shape, Kind::linf, Gradients::ordinary, random);
  const DeviceFloats gradient(shape, n.gradient);
  const Array<float> alpha(n.alpha), eps(n.eps);
  const Array<std::int32_t> nan(2), nonzero(2);
  const auto stepped = [&](bool bare) {
    DeviceImages device(shape, Precision::bf16, &n.x0, &n.x);
    Images images = device.images();
    if (bare) images.operand = nullptr;
    step(images,
         {.gradient = gradient.data(),
          .alpha = alpha.data(),
          .eps = eps.data(),
          .nan_count = bare ? nullptr : nan.data(),
          .nonzero = bare ? nullptr : nonzero.data()},
         nullptr);
    return device.x();
  };
  EXPECT(same(stepped(true), stepped(false)));
}

TEST("a norm without room for its sums is refused") {
  std::mt19937 random(98);
  const Shape shape{1, 3, 8, 8, 0};
  const Numbers n = numbers(shape, Kind::l2, Gradients::ordinary, random);
  DeviceImages device(shape, Precision::bf16, &n.x0, &n.x);
  const DeviceFloats gradient(shape, n.gradient);
  const Array<float> alpha(n.alpha), eps(n.eps);
  bool refused = false;
  try {
    step(device.images(), {.kind = Kind::l2, .gradient = gradient.data(), .alpha = alpha.data(), .eps = eps.data()}, nullptr);
  } catch (const signstep::rt::Failure& failure) {
    refused = failure.kind == signstep::rt::Failure::Kind::invalid;
  }
  EXPECT(refused);
}

}  // namespace
