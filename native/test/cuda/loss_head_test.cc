#include <algorithm>
#include <numeric>

#include "device_case.h"

namespace {

using device_case::Array;
using device_case::Precision;
using device_case::Values;
using signstep::kernels::loss_head;
using signstep::kernels::LossHead;
using signstep::program::Loss;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Expected {
  double value;
  std::vector<double> gradient;
  std::vector<double> magnitude;  // of what the gradient is the difference of, where it is one
  std::int32_t prediction;
  bool fooled;
};

// The classes from the highest logit to the lowest; of equals the first.
std::vector<std::size_t> ranking(const std::vector<float>& z) {
  std::vector<std::size_t> order(z.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return z[a] > z[b]; });
  return order;
}

// max over the other classes minus the class itself, and its gradient: equal maxima share it.
double margin(const std::vector<float>& z, std::size_t goal, std::vector<double>& gradient) {
  float others = -std::numeric_limits<float>::infinity();
  for (std::size_t k = 0; k < z.size(); ++k)
    if (k != goal) others = std::max(others, z[k]);
  double equal = 0;
  for (std::size_t k = 0; k < z.size(); ++k) equal += k != goal && z[k] == others ? 1 : 0;
  for (std::size_t k = 0; k < z.size(); ++k) gradient[k] = k == goal ? -1 : z[k] == others ? 1 / equal : 0;
  return static_cast<double>(others) - static_cast<double>(z[goal]);
}

// Softmax, and its logarithm.
struct Distribution {
  std::vector<double> p, logarithm;

  explicit Distribution(const std::vector<float>& z) : p(z.size()), logarithm(z.size()) {
    const double highest = *std::max_element(z.begin(), z.end());
    double sum = 0;
    for (const float v : z) sum += std::exp(static_cast<double>(v) - highest);
    for (std::size_t k = 0; k < z.size(); ++k) {
      logarithm[k] = static_cast<double>(z[k]) - highest - std::log(sum);
      p[k] = std::exp(logarithm[k]);
    }
  }
};

// The definitions of src/backend/loss.ts and src/autodiff/losses.ts in float64.
Expected expect(Loss loss, const std::vector<float>& z, const std::vector<float>& reference, std::int32_t label, std::int32_t target, bool targeted) {
  const std::size_t classes = z.size(), y = static_cast<std::size_t>(label), t = static_cast<std::size_t>(target), goal = targeted ? t : y;
  Expected e{kNan, std::vector<double>(classes, kNan), std::vector<double>(classes, 0.0), -1, false};
  const bool nan = std::any_of(z.begin(), z.end(), [](float v) { return std::isnan(v); });
  const std::vector<std::size_t> order = ranking(z);
  if (!nan) e.prediction = static_cast<std::int32_t>(order[0]);
  e.fooled = targeted ? e.prediction == target : e.prediction != label;
  if (nan) return e;
  const auto at = [&](std::size_t rank) { return static_cast<double>(z[order[rank]]); };
  switch (loss) {
    case Loss::cross_entropy: {
      double rest = 0;
      for (std::size_t k = 1; k < classes; ++k) rest += std::exp(at(k) - at(0));
      e.value = at(0) - static_cast<double>(z[goal]) + std::log1p(rest);
      for (std::size_t k = 0; k < classes; ++k) {
        const double p = std::exp(static_cast<double>(z[k]) - at(0)) / (1 + rest);
        e.gradient[k] = k != goal ? p : k == order[0] ? -rest / (1 + rest) : p - 1;
      }
      break;
    }
    case Loss::kl: {
      const Distribution p(reference), q(z);
      e.value = 0;
      for (std::size_t k = 0; k < classes; ++k) {
        if (p.p[k] > 0) e.value += p.p[k] * (p.logarithm[k] - q.logarithm[k]);
        e.gradient[k] = q.p[k] - p.p[k];
        e.magnitude[k] = std::max(q.p[k], p.p[k]);
      }
      break;
    }
    case Loss::margin: e.value = margin(z, goal, e.gradient); break;
    case Loss::dlr: {
      std::vector<double> numerator(classes, 0.0), denominator(classes, 0.0);
      double above, below;
      denominator[order[0]] += 1;
      if (targeted) {
        above = static_cast<double>(z[y]) - static_cast<double>(z[t]);
        below = at(0) - (at(2) + at(3)) / 2 + 1e-12;
        numerator[y] += 1, numerator[t] -= 1;
        denominator[order[2]] -= 0.5, denominator[order[3]] -= 0.5;
      } else {
        above = margin(z, y, numerator);
        below = at(0) - at(2) + 1e-12;
        denominator[order[2]] -= 1;
      }
      e.value = above / below;
      for (std::size_t k = 0; k < classes; ++k) e.gradient[k] = (numerator[k] * below - denominator[k] * above) / (below * below);
      break;
    }
  }
  return e;
}

struct Batch {
  std::size_t classes;
  std::vector<std::vector<float>> logits, references;
  std::vector<std::int32_t> labels, targets;
};

// Of every kind: spread, confident (right and wrong), tied at the top, all equal, large and near to each other, one NaN, infinities.
Batch make_batch(std::size_t classes, std::mt19937& random, bool strange) {
  Batch batch{classes, {}, {}, {}, {}};
  std::uniform_int_distribution<std::size_t> any(0, classes - 1);
  const auto add = [&](std::vector<float> z, std::size_t label, std::size_t target) {
    // As the logits of a clean image are to those of one under attack: the same, near, far, or of a class of its own.
    std::vector<float> reference = z;
    for (float& r : reference)
      if (std::isnan(r)) r = 0;
    const std::size_t kind = batch.logits.size() % 4;
    for (std::size_t k = 0; k < classes && kind > 0; ++k) {
      const float noise = device_case::normal(1, 1, random, 0, 1)[0];
      reference[k] += (kind == 1 ? 1e-3f : kind == 2 ? 0.3f : 4.0f) * noise;
    }
    batch.references.push_back(std::move(reference));
    batch.logits.push_back(std::move(z));
    batch.labels.push_back(static_cast<std::int32_t>(label));
    batch.targets.push_back(static_cast<std::int32_t>(target));
  };
  const auto spread = [&](float deviation, float mean) { return device_case::normal(1, classes, random, mean, deviation); };
  add(spread(3, 0.7f), any(random), any(random));
  add(spread(0.01f, 60), any(random), any(random));
  for (const std::size_t rank : {0u, 1u, 2u}) {
    const std::vector<float> z = spread(2, -0.3f);
    const std::vector<std::size_t> order = ranking(z);
    add(z, order[std::min(rank, classes - 1)], order[std::min<std::size_t>(rank + 1, classes - 1)]);
  }
  std::vector<float> z = spread(1, 0);
  z[classes / 2] = 18;
  add(z, classes / 2, 0);
  add(z, 0, classes / 2);
  z = spread(1, 0);
  for (int i = 0; i < 4; ++i) z[any(random)] = 5;
  add(z, any(random), any(random));
  add(z, ranking(z)[0], ranking(z)[1 % classes]);
  add(std::vector<float>(classes, -2.5f), any(random), any(random));
  if (strange) {
    z = spread(1, 0);
    z[any(random)] = std::numeric_limits<float>::quiet_NaN();
    add(z, any(random), any(random));
    z = spread(1, 0);
    // Not among the four highest, which would leave DLR no denominator.
    if (classes > 4) z[0] = -std::numeric_limits<float>::infinity();
    add(z, classes - 1, classes - 1);
  }
  return batch;
}

constexpr Loss kLosses[] = {Loss::cross_entropy, Loss::margin, Loss::dlr, Loss::kl};

std::size_t classes_needed(Loss loss, bool targeted) { return loss == Loss::dlr ? (targeted ? 4 : 3) : 2; }

bool near(double found, double expected, double tolerance, double least = 0) {
  if (std::isnan(expected)) return std::isnan(found);
  return found == expected || std::abs(found - expected) <= std::max(tolerance * std::abs(expected), least);
}

void compare(const Batch& batch, Loss loss, bool targeted, Precision precision, std::int32_t live = -1) {
  const std::size_t images = batch.logits.size(), classes = batch.classes;
  std::vector<float> logits, references;
  for (const auto& row : batch.logits) logits.insert(logits.end(), row.begin(), row.end());
  for (const auto& row : batch.references) references.insert(references.end(), row.begin(), row.end());
  const Values dlogits(images * classes, precision);
  const Array<float> device_logits(logits), device_references(references), value(images);
  const Array<std::int32_t> labels(batch.labels), targets(batch.targets), predictions(images), device_live(std::vector<std::int32_t>{live});
  const Array<std::uint8_t> fooled(images);
  loss_head({.precision = precision,
             .logits = device_logits.data(),
             .dlogits = dlogits.data(),
             .images = static_cast<std::int32_t>(images),
             .classes = static_cast<std::int32_t>(classes),
             .loss = loss,
             .targeted = targeted,
             .labels = labels.data(),
             .targets = targeted ? targets.data() : nullptr,
             .reference = loss == Loss::kl ? device_references.data() : nullptr,
             .value = value.data(),
             .predictions = predictions.data(),
             .fooled = fooled.data(),
             .live = live < 0 ? nullptr : device_live.data()},
            nullptr);
  const std::vector<float> values = value.host(), gradients = dlogits.host();
  const std::vector<std::int32_t> predicted = predictions.host();
  const std::vector<std::uint8_t> flags = fooled.host();
  for (std::size_t i = 0; i < images; ++i) {
    const std::vector<float> gradient(gradients.begin() + static_cast<std::ptrdiff_t>(i * classes),
                                      gradients.begin() + static_cast<std::ptrdiff_t>((i + 1) * classes));
    if (live >= 0 && i >= static_cast<std::size_t>(live)) {
      EXPECT(std::isnan(values[i]) && predicted[i] == -1 && flags[i] == 0xFF);
      EXPECT(std::all_of(gradient.begin(), gradient.end(), [](float d) { return std::isnan(d); }));
      continue;
    }
    const Expected e = expect(loss, batch.logits[i], batch.references[i], batch.labels[i], batch.targets[i], targeted);
    // The definition of KL in float64 is itself exact to 1e-13 only.
    EXPECT(near(static_cast<double>(values[i]), e.value, 1e-6, loss == Loss::kl ? 1e-12 : 0));
    EXPECT(predicted[i] == e.prediction);
    EXPECT(flags[i] == (e.fooled ? 1 : 0));
    bool close = true;
    double largest = 0;
    for (const double d : e.gradient) largest = std::max(largest, std::abs(d));
    for (std::size_t k = 0; k < classes; ++k) {
      const double d = static_cast<double>(gradient[k]);
      if (std::isnan(e.gradient[k])) {
        close &= std::isnan(gradient[k]);
      } else if (precision == Precision::float32) {
        close &= std::abs(d - e.gradient[k]) <= std::max(1e-6 * std::max(largest * 1e-3, std::abs(e.gradient[k])), 1e-6 * e.magnitude[k]);
      } else {
        // Half a unit in the last place, of a subnormal too, and the error of float32.
        const double unit = precision == Precision::bf16 ? 0x1p-8 : 0x1p-11, least = precision == Precision::bf16 ? 0x1p-134 : 0x1p-25;
        const double magnitude = std::abs(e.gradient[k]), off = std::abs(d - e.gradient[k]);
        close &= std::isinf(d) ? magnitude > 65000 : off <= std::max(least, unit * magnitude) + 1e-6 * magnitude + 1e-6 * e.magnitude[k];
      }
    }
    EXPECT(close);
  }
}

TEST("losses, predictions and gradients are those of their definitions for any number of classes") {
  std::mt19937 random(31);
  std::uint32_t round = 0;
  for (const std::size_t classes : {2, 3, 4, 5, 10, 31, 64, 100, 256, 257, 1000})
    for (const Loss loss : kLosses)
      for (const bool targeted : {false, true}) {
        if (classes < classes_needed(loss, targeted) || (targeted && loss == Loss::kl)) continue;
        signstep::rt::set_schedule(round);
        compare(make_batch(classes, random, true), loss, targeted, static_cast<Precision>(round++ % 3));
        compare(make_batch(classes, random, true), loss, targeted, Precision::float32);
      }
  signstep::rt::set_schedule(0);
}

TEST("twenty-one thousand classes") {
  std::mt19937 random(32);
  for (const std::size_t classes : {21843, 21848})
    for (const Loss loss : kLosses) {
      Batch batch = make_batch(classes, random, false);
      batch.logits.resize(3), batch.references.resize(3), batch.labels.resize(3), batch.targets.resize(3);
      compare(batch, loss, false, Precision::float32);
      if (loss != Loss::kl) compare(batch, loss, true, Precision::bf16);
    }
}

TEST("losses do not depend on the warp order") {
  std::mt19937 random(33);
  const Batch batch = make_batch(1000, random, true);
  for (const Loss loss : kLosses)
    device_case::under_schedules([&](int) { compare(batch, loss, false, Precision::bf16); });
}

TEST("finished images have no loss") {
  std::mt19937 random(34);
  const Batch batch = make_batch(40, random, true);
  for (const Loss loss : kLosses) compare(batch, loss, false, Precision::bf16, 3);
}

TEST("an infinite logit makes cross-entropy NaN, as log-sum-exp does, and is still the prediction") {
  const std::vector<float> logits{1, std::numeric_limits<float>::infinity(), 0};
  const Array<float> device(logits), value(1);
  const Values dlogits(3, Precision::float32);
  const Array<std::int32_t> labels(std::vector<std::int32_t>{0}), predictions(1);
  loss_head({.precision = Precision::float32,
             .logits = device.data(),
             .dlogits = dlogits.data(),
             .images = 1,
             .classes = 3,
             .labels = labels.data(),
             .value = value.data(),
             .predictions = predictions.data()},
            nullptr);
  EXPECT(std::isnan(value.host()[0]));
  EXPECT(predictions.host()[0] == 1);
  EXPECT(std::isnan(dlogits.host()[0]));
}

TEST("of near and confident distributions KL keeps the digits that a difference of entropies would lose") {
  const std::vector<float> reference{20, 0, 1, -3}, logits{20.0001f, 0.001f, 1, -3};
  const Array<float> device(logits), device_reference(reference), value(1);
  const Values dlogits(4, Precision::float32);
  const Array<std::int32_t> labels(std::vector<std::int32_t>{0}), predictions(1);
  loss_head({.precision = Precision::float32,
             .logits = device.data(),
             .dlogits = dlogits.data(),
             .images = 1,
             .classes = 4,
             .loss = Loss::kl,
             .labels = labels.data(),
             .reference = device_reference.data(),
             .value = value.data(),
             .predictions = predictions.data()},
            nullptr);
  // In float64, by the series of e^t - 1 - t: the divergence is 1e-15.
  std::vector<double> d(4), p(4);
  double mean = 0, sum = 0, divergence = 0, rest_p = 0, rest_q = 0;
  for (std::size_t k = 0; k < 4; ++k) sum += std::exp(static_cast<double>(reference[k]) - 20);
  for (std::size_t k = 0; k < 4; ++k) {
    d[k] = static_cast<double>(logits[k]) - static_cast<double>(reference[k]);
    p[k] = std::exp(static_cast<double>(reference[k]) - 20) / sum;
    mean += p[k] * d[k];
    if (k > 0) rest_p += p[k], rest_q += std::exp(static_cast<double>(logits[k]) - static_cast<double>(logits[0])) / sum;
  }
  for (std::size_t k = 0; k < 4; ++k) divergence += p[k] * (std::expm1(d[k] - mean) - (d[k] - mean));
  EXPECT(near(static_cast<double>(value.host()[0]), divergence, 1e-3));
  EXPECT(near(static_cast<double>(dlogits.host()[0]), rest_p - rest_q, 1e-3));
}

TEST("KL without reference logits, or towards a target, is refused") {
  const Array<float> device(std::vector<float>{1, 2}), value(1);
  const Array<std::int32_t> labels(std::vector<std::int32_t>{0});
  LossHead args{.precision = Precision::float32, .logits = device.data(), .images = 1, .classes = 2, .loss = Loss::kl, .labels = labels.data()};
  const auto refused = [&] {
    try {
      loss_head(args, nullptr);
    } catch (const signstep::rt::Failure& failure) {
      return failure.kind == signstep::rt::Failure::Kind::invalid;
    }
    return false;
  };
  EXPECT(refused());
  args.reference = device.data(), args.targeted = true, args.targets = labels.data();
  EXPECT(refused());
}

TEST("a class number out of range gives NaN and reads nothing; too few classes for a loss are refused; all outputs may be left out") {
  const std::vector<float> logits{1, 2};
  const Array<float> device(logits), value(1);
  const Array<std::int32_t> labels(std::vector<std::int32_t>{2}), predictions(1);
  LossHead args{.precision = Precision::float32,
                .logits = device.data(),
                .images = 1,
                .classes = 2,
                .labels = labels.data(),
                .value = value.data(),
                .predictions = predictions.data()};
  loss_head(args, nullptr);
  EXPECT(std::isnan(value.host()[0]));
  EXPECT(predictions.host()[0] == 1);
  args.value = nullptr, args.predictions = nullptr;
  loss_head(args, nullptr);
  args.loss = Loss::dlr;
  bool refused = false;
  try {
    loss_head(args, nullptr);
  } catch (const signstep::rt::Failure& failure) {
    refused = failure.kind == signstep::rt::Failure::Kind::invalid;
  }
  EXPECT(refused);
}

}  // namespace
