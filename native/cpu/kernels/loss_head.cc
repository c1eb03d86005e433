// Loss, prediction, success and the gradient of the loss with respect to the logits, an image at a time, in float64. Definitions:
// src/backend/loss.ts and src/autodiff/losses.ts.
#include <algorithm>
#include <limits>
#include <vector>

#include "elements.h"

namespace signstep::kernels {
namespace {

using program::Loss;

constexpr double kDlrEpsilon = 1e-12;  // Croce & Hein 2020

// Probabilities of logits, as what the others amount to where the highest counts 1.
struct Softmax {
  const float* logits;
  std::int32_t highest = 0;
  double rest = 0;

  Softmax(const float* of, std::int32_t classes) : logits(of) {
    for (std::int32_t i = 0; i < classes; ++i)
      if (logits[i] > logits[highest]) highest = i;
    // NaN where the highest is infinite, as log-sum-exp is.
    rest = above(highest);
    for (std::int32_t i = 0; i < classes; ++i)
      if (i != highest) rest += std::exp(above(i));
  }
  double above(std::int32_t i) const { return static_cast<double>(logits[i]) - static_cast<double>(logits[highest]); }
  double operator[](std::int32_t i) const { return std::exp(above(i)) / (1 + rest); }
  double logarithm(std::int32_t i) const { return above(i) - std::log1p(rest); }
};

struct Head {
  const LossHead& args;
  const float* logits;
  std::int32_t classes, label, target;
  std::vector<double>& gradient;

  std::int32_t goal() const { return args.targeted ? target : label; }
  double z(std::int32_t of) const { return static_cast<double>(logits[of]); }

  // -log softmax at the goal.
  double cross_entropy(std::int32_t highest) {
    // NaN where the highest is infinite, as log-sum-exp is.
    double others = z(highest) - z(highest);
    for (std::int32_t i = 0; i < classes; ++i)
      if (i != highest) others += std::exp(z(i) - z(highest));
    for (std::int32_t i = 0; i < classes; ++i) gradient[static_cast<std::size_t>(i)] = std::exp(z(i) - z(highest)) / (1 + others);
    // 1 - p loses everything where p is near 1, which only the highest can be.
    double& at_goal = gradient[static_cast<std::size_t>(goal())];
    at_goal = goal() == highest ? -others / (1 + others) : at_goal - 1;
    return z(highest) - z(goal()) + std::log1p(others);
  }

  // The highest of the other classes minus the class; equal maxima share the gradient.
  double margin() {
    double others = -std::numeric_limits<double>::infinity();
    for (std::int32_t i = 0; i < classes; ++i)
      if (i != goal()) others = std::max(others, z(i));
    std::int32_t equal = 0;
    for (std::int32_t i = 0; i < classes; ++i) equal += i != goal() && z(i) == others ? 1 : 0;
    for (std::int32_t i = 0; i < classes; ++i)
      gradient[static_cast<std::size_t>(i)] = i == goal() ? -1.0 : z(i) == others ? 1.0 / equal : 0.0;
    return others - z(goal());
  }

  // KL(p || q), p of the reference: the sum of p (e^t - 1 - t) with t = log q - log p, of which no term is negative.
  double kl(const float* reference) {
    const Softmax p(reference, classes), q(logits, classes);
    double value = 0;
    for (std::int32_t i = 0; i < classes; ++i) {
      const double t = q.logarithm(i) - p.logarithm(i);
      value += p[i] == 0 ? q[i] : std::abs(t) < 0.5 ? p[i] * (std::expm1(t) - t) : q[i] - p[i] * (1 + t);
      // Where both are above one half, what they lack of 1 has more digits than they have.
      const bool near_one = i == p.highest && i == q.highest && p.rest < 1 && q.rest < 1;
      gradient[static_cast<std::size_t>(i)] = near_one ? p.rest / (1 + p.rest) - q.rest / (1 + q.rest) : q[i] - p[i];
    }
    return value;
  }

  // (highest other - z_y) / (z(1) - z(3)), targeted (z_y - z_t) / (z(1) - (z(3) + z(4)) / 2).
  double dlr() {
    std::vector<std::int32_t> order(static_cast<std::size_t>(classes));
    for (std::int32_t i = 0; i < classes; ++i) order[static_cast<std::size_t>(i)] = i;
    const int top = args.targeted ? 4 : 3;
    std::partial_sort(order.begin(), order.begin() + top, order.end(),
                      [&](std::int32_t a, std::int32_t b) { return logits[a] > logits[b] || (logits[a] == logits[b] && a < b); });
    double numerator;
    if (args.targeted) {
      std::fill(gradient.begin(), gradient.end(), 0.0);
      numerator = z(label) - z(target);
      gradient[static_cast<std::size_t>(label)] += 1;
      gradient[static_cast<std::size_t>(target)] -= 1;
    } else {
      numerator = margin();
    }
    const double below = args.targeted ? (z(order[2]) + z(order[3])) / 2 : z(order[2]);
    const double denominator = z(order[0]) - below + kDlrEpsilon;
    for (double& d : gradient) d *= denominator;
    const auto subtract = [&](std::int32_t of, double part) { gradient[static_cast<std::size_t>(of)] -= part * numerator; };
    subtract(order[0], 1);
    subtract(order[2], args.targeted ? -0.5 : -1);
    if (args.targeted) subtract(order[3], -0.5);
    for (double& d : gradient) d /= denominator * denominator;
    return static_cast<double>(static_cast<float>(numerator) / static_cast<float>(denominator));
  }
};

void run_image(const LossHead& args, std::int64_t image) {
  const std::int32_t classes = args.classes;
  const float* logits = args.logits + image * classes;
  const bool needs_label = !args.targeted || args.loss == Loss::dlr;
  const std::int32_t label = needs_label ? args.labels[image] : 0, target = args.targeted ? args.targets[image] : 0;
  std::int32_t highest = 0;
  bool nan = false;
  for (std::int32_t i = 0; i < classes; ++i) {
    if (logits[i] > logits[highest]) highest = i;
    nan = nan || logits[i] != logits[i];
  }
  const std::int32_t prediction = nan ? -1 : highest;
  if (args.predictions != nullptr) args.predictions[image] = prediction;
  if (args.fooled != nullptr) args.fooled[image] = (args.targeted ? prediction == target : prediction != label) ? 1 : 0;

  thread_local std::vector<double> gradient;
  gradient.assign(static_cast<std::size_t>(classes), 0.0);
  // Without a usable logit or class number there is no loss: NaN, so that it cannot go unnoticed.
  double value = std::numeric_limits<double>::quiet_NaN();
  const auto is_class = [&](std::int32_t number) { return number >= 0 && number < classes; };
  if (nan || !is_class(label) || !is_class(target)) {
    std::fill(gradient.begin(), gradient.end(), value);
  } else {
    Head head{args, logits, classes, label, target, gradient};
    switch (args.loss) {
      case Loss::cross_entropy: value = head.cross_entropy(highest); break;
      case Loss::margin: value = head.margin(); break;
      case Loss::dlr: value = head.dlr(); break;
      case Loss::kl: value = head.kl(args.reference + image * classes); break;
    }
  }
  if (args.value != nullptr) args.value[image] = static_cast<float>(value);
  if (args.dlogits == nullptr) return;
  with_type(args.precision, program::ElementType::value, [&]<class T>(Element<T>) {
    T* to = static_cast<T*>(args.dlogits) + image * classes;
    for (std::int32_t i = 0; i < classes; ++i) to[i] = from_float<T>(static_cast<float>(gradient[static_cast<std::size_t>(i)]));
  });
}

}  // namespace

void loss_head(const LossHead& args, rt::Stream stream) {
  const std::int32_t least = args.loss == Loss::margin ? 2 : args.loss == Loss::dlr ? (args.targeted ? 4 : 3) : 1;
  if (args.classes < least) refuse("loss_head", "the loss needs more classes");
  if (args.images < 0 || args.logits == nullptr) refuse("loss_head", "logits are needed");
  if (args.targeted && args.targets == nullptr) refuse("loss_head", "targets are needed");
  if ((!args.targeted || args.loss == Loss::dlr) && args.labels == nullptr) refuse("loss_head", "labels are needed");
  if (args.loss == Loss::kl && args.targeted) refuse("loss_head", "KL has no targeted form");
  if (args.loss == Loss::kl && args.reference == nullptr) refuse("loss_head", "reference logits are needed");
  cpu::submit(stream, [args] {
    const std::int32_t images = args.live == nullptr ? args.images : std::min(*args.live, args.images);
    if (images > 0) cpu::parallel(static_cast<std::size_t>(images), [&](std::size_t image) { run_image(args, static_cast<std::int64_t>(image)); });
  });
}

}  // namespace signstep::kernels
