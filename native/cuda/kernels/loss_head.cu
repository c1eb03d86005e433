// Loss, prediction, success and the gradient of the loss with respect to the logits, a block an image. Definitions: src/backend/loss.ts and
// src/autodiff/losses.ts. The few numbers on which a loss hangs are float64, so that differences of large logits lose nothing.
#include "element.cuh"
#include "highest_logits.cuh"

namespace signstep::kernels {
namespace {

using program::Loss;

constexpr double kDlrEpsilon = 1e-12;  // Croce & Hein 2020

// How many of the highest logits a loss needs: cross-entropy and KL the first, the margin the first that is not the class itself.
template <Loss kLoss>
inline constexpr int kTop = kLoss == Loss::cross_entropy || kLoss == Loss::kl ? 1 : kLoss == Loss::margin ? 2 : 4;

// Where the parts of shared memory begin, in bytes.
constexpr std::size_t kSums = 0;  // of up to three sums
constexpr std::size_t kTopValues = kSums + 3 * kMostLossWarps * sizeof(double);
constexpr std::size_t kTopPlaces = kTopValues + kMostLossWarps * 4 * sizeof(float);
constexpr std::size_t kFlags = kTopPlaces + kMostLossWarps * 4 * sizeof(std::int32_t);
constexpr std::size_t kLossShared = kFlags + kMostLossWarps * sizeof(std::int32_t);

// e^(z - highest). What rounding takes from the difference is put back: at -15 it would be 5e-7 of the result.
__device__ __forceinline__ float exp_of_difference(float z, float highest) {
  const float difference = __fsub_rn(z, highest);
  const float e = expf(difference);
  if (!(difference > -80.0f)) return e;
  const float back = __fsub_rn(difference, z);
  const float lost = __fsub_rn(__fsub_rn(z, __fsub_rn(difference, back)), __fadd_rn(highest, back));
  return fmaf(e, lost, e);
}

// Calls body(class, logit) for the thread's classes, in runs of N.
template <int N, class Body>
__device__ __forceinline__ void each_run(const float* logits, std::int32_t classes, Body&& body) {
  const auto stride = static_cast<std::int32_t>(blockDim.x) * N;
  for (std::int32_t first = static_cast<std::int32_t>(threadIdx.x) * N; first < classes; first += stride) {
    float z[N];
    load(logits + first, z);
    body(first, z);
  }
}

// The sum over all threads, in a fixed order, for all threads. `sums` must not be in use.
__device__ __forceinline__ double sum_over_block(double value, Shared<double> sums) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xFFFFFFFFu, value, distance);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = value;
  __syncthreads();
  double total = 0;
  for (unsigned warp = 0; warp < blockDim.x / 32; warp++) {
    const double own = sums[warp];
    total += own;
  }
  return total;
}

__device__ __forceinline__ bool is_class(std::int32_t number, std::int32_t classes) { return number >= 0 && number < classes; }

// The loss as numbers: d loss / d z is computed from them class by class. Differences of logits are float64, quotients float32: those need no
// exactness, and a float64 division is a call that costs registers.
struct CrossEntropy {
  float value, highest, inverse, of_goal;  // inverse of the sum of exponentials; the gradient at the goal
  std::int32_t goal;

  __device__ __forceinline__ CrossEntropy(const float* logits, std::int32_t to, const HighestLogits<1>& top, double others)
      : highest(top.value[0]), goal(to) {
    // others: the exponentials of all classes but the highest, whose own is 1. NaN where the highest is infinite, as in log-sum-exp.
    const float rest = static_cast<float>(others) + (highest - highest), z = logits[to];
    value = static_cast<float>(static_cast<double>(highest) - static_cast<double>(z) + static_cast<double>(::log1pf(rest)));
    inverse = 1.0f / (1.0f + rest);
    // 1 - p loses everything where p is near 1, which only the highest can be.
    of_goal = to == top.at[0] ? -rest * inverse : exp_of_difference(z, highest) * inverse - 1.0f;
  }
  __device__ __forceinline__ float gradient(std::int32_t of, float z) const {
    return of == goal ? of_goal : exp_of_difference(z, highest) * inverse;
  }
};

// max over the other classes minus the class itself; equal maxima share the gradient.
struct Margin {
  float value, others, share;
  std::int32_t goal;

  __device__ __forceinline__ Margin(const float* logits, std::int32_t to, float highest_other, float equal) : others(highest_other), goal(to) {
    value = others - logits[to];
    share = 1.0f / equal;
  }
  __device__ __forceinline__ float gradient(std::int32_t of, float z) const { return of == goal ? -1.0f : z == others ? share : 0.0f; }
};

// numerator / (z(1) - z(3) + epsilon), or of the targeted form / (z(1) - (z(3) + z(4)) / 2 + epsilon).
struct Dlr {
  float value, inverse, share, others;  // inverse of the denominator; share of each of the equal maxima in the numerator
  double numerator, denominator;
  std::int32_t up, down, first, third, fourth;

  // The untargeted form: the numerator is the margin of the class.
  __device__ __forceinline__ Dlr(const float* logits, std::int32_t label, const HighestLogits<4>& top, float highest_other, float equal)
      : share(1.0f / equal), others(highest_other), up(-1), down(label), fourth(-1) {
    conclude(static_cast<double>(others) - static_cast<double>(logits[label]), top, static_cast<double>(top.value[2]));
  }
  // The targeted form: the numerator is label minus target.
  __device__ __forceinline__ Dlr(const float* logits, std::int32_t label, std::int32_t target, const HighestLogits<4>& top)
      : share(0), others(0), up(label), down(target), fourth(top.at[3]) {
    conclude(static_cast<double>(logits[label]) - static_cast<double>(logits[target]), top,
             (static_cast<double>(top.value[2]) + static_cast<double>(top.value[3])) * 0.5);
  }
  __device__ __forceinline__ float gradient(std::int32_t of, float z) const {
    const bool shares = share != 0 && z == others && of != down;
    if (!shares && of != up && of != down && of != first && of != third && of != fourth) return 0.0f;
    // The derivatives of numerator and denominator. Their parts are put together before the division: they nearly cancel where the
    // numerator is nearly the denominator.
    const float part = fourth < 0 ? 1.0f : 0.5f;
    const float n = (shares ? share : 0.0f) + (of == up ? 1.0f : 0.0f) - (of == down ? 1.0f : 0.0f);
    const float d = (of == first ? 1.0f : 0.0f) - (of == third || of == fourth ? part : 0.0f);
    return static_cast<float>(static_cast<double>(n) * denominator - static_cast<double>(d) * numerator) * inverse * inverse;
  }

 private:
  __device__ __forceinline__ void conclude(double above, const HighestLogits<4>& top, double subtracted) {
    first = top.at[0], third = top.at[2];
    numerator = above;
    denominator = static_cast<double>(top.value[0]) - subtracted + kDlrEpsilon;
    inverse = 1.0f / static_cast<float>(denominator);
    value = static_cast<float>(numerator) / static_cast<float>(denominator);
  }
};

// Probabilities of logits whose highest is at `at`; `others` sums the exponentials of all classes but that one, whose own is 1.
struct Softmax {
  float highest, rest, inverse;
  std::int32_t at;

  __device__ __forceinline__ Softmax(const HighestLogits<1>& top, double others)
      : highest(top.value[0]), rest(static_cast<float>(others) + (highest - highest)), inverse(1.0f / (1.0f + rest)), at(top.at[0]) {}
  __device__ __forceinline__ float operator()(float z) const { return exp_of_difference(z, highest) * inverse; }
};

// KL(p || q), p of the reference and q of the logits, as the sum of p (e^t - 1 - t) with t = log q - log p. No term is negative, and an error
// common to all t cancels to first order: what is left of the divergence of near distributions is not the rounding of their entropies.
struct Divergence {
  Softmax p, q;
  double shift;  // log-sum-exp of the logits minus that of the reference

  __device__ __forceinline__ Divergence(const Softmax& of_reference, const Softmax& of_logits)
      : p(of_reference),
        q(of_logits),
        shift(static_cast<double>(q.highest) - static_cast<double>(p.highest) + static_cast<double>(::log1pf(q.rest) - ::log1pf(p.rest))) {}
  __device__ __forceinline__ double term(float z, float reference) const {
    const float mine = p(reference);
    if (mine == 0) return static_cast<double>(q(z));
    const double t = static_cast<double>(z) - static_cast<double>(reference) - shift;
    if (fabsf(static_cast<float>(t)) >= 0.5f) return static_cast<double>(q(z)) - static_cast<double>(mine) * (1 + t);
    // The power series, to 4e-8 of the result: the exponential would lose what 1 + t takes from it.
    const float x = static_cast<float>(t);
    float series = 1.0f / 40320;
    for (const float coefficient : {1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 1.0f / 2}) series = fmaf(series, x, coefficient);
    return static_cast<double>(mine * series * x * x);
  }
  // Where both are above one half, what they lack of 1 has more digits than they have.
  __device__ __forceinline__ float gradient(std::int32_t of, float z, float reference) const {
    const bool near_one = of == q.at && of == p.at && p.rest < 1.0f && q.rest < 1.0f;
    return near_one ? p.rest * p.inverse - q.rest * q.inverse : q(z) - p(reference);
  }
};

template <class T, Loss kLoss, int N>
__global__ void __launch_bounds__(kMostLossWarps * 32, 2) loss_head_kernel(const LossHead args) {
  const auto image = static_cast<std::int32_t>(blockIdx.x);
  if (args.live != nullptr && image >= *args.live) return;
  const Shared<std::uint8_t> memory = dynamic_shared();
  const Shared<double> sums = shared_cast<double>(memory + kSums);
  const Shared<std::int32_t> flags = shared_cast<std::int32_t>(memory + kFlags);
  const float* logits = args.logits + static_cast<std::int64_t>(image) * args.classes;

  HighestLogits<kTop<kLoss>> top;
  bool nan = false;
  each_run<N>(logits, args.classes, [&](std::int32_t of, const float(&z)[N]) {
#pragma unroll
    for (int i = 0; i < N; i++) {
      nan = nan || z[i] != z[i];
      top.insert(z[i], of + i);
    }
  });
  nan = __any_sync(0xFFFFFFFFu, nan);
  if (threadIdx.x % 32 == 0) flags[threadIdx.x / 32] = nan ? 1 : 0;
  top.merge_block(shared_cast<float>(memory + kTopValues), shared_cast<std::int32_t>(memory + kTopPlaces));
  for (unsigned warp = 0; warp < blockDim.x / 32; warp++) {
    const std::int32_t flag = flags[warp];
    nan = nan || flag != 0;
  }

  const bool needs_label = !args.targeted || kLoss == Loss::dlr;
  const std::int32_t label = needs_label ? args.labels[image] : 0, target = args.targeted ? args.targets[image] : 0;
  const std::int32_t goal = args.targeted ? target : label, prediction = nan ? -1 : top.at[0];
  if (threadIdx.x == 0) {
    if (args.predictions != nullptr) args.predictions[image] = prediction;
    if (args.fooled != nullptr) args.fooled[image] = (args.targeted ? prediction == target : prediction != label) ? 1 : 0;
  }

  // Without a usable logit or class number there is no loss: NaN, so that it cannot go unnoticed.
  const bool none = nan || !is_class(label, args.classes) || !is_class(target, args.classes);
  const auto conclude = [&](float value, auto&& gradient) {
    if (threadIdx.x == 0 && args.value != nullptr) args.value[image] = value;
    if (args.dlogits == nullptr) return;
    T* to = static_cast<T*>(args.dlogits) + static_cast<std::int64_t>(image) * args.classes;
    each_run<N>(logits, args.classes, [&](std::int32_t of, const float(&z)[N]) {
      float d[N];
#pragma unroll
      for (int i = 0; i < N; i++) d[i] = gradient(of + i, z[i]);
      store(to + of, d);
    });
  };
  if (none) {
    const float nothing = __uint_as_float(0x7FFFFFFFu);
    conclude(nothing, [&](std::int32_t, float) { return nothing; });
    return;
  }

  if constexpr (kLoss == Loss::cross_entropy) {
    double rest = 0;
    each_run<N>(logits, args.classes, [&](std::int32_t of, const float(&z)[N]) {
#pragma unroll
      for (int i = 0; i < N; i++)
        if (of + i != top.at[0]) rest += static_cast<double>(exp_of_difference(z[i], top.value[0]));
    });
    const CrossEntropy loss(logits, goal, top, sum_over_block(rest, sums));
    conclude(loss.value, [&](std::int32_t of, float z) { return loss.gradient(of, z); });
  } else if constexpr (kLoss == Loss::kl) {
    const float* reference = args.reference + static_cast<std::int64_t>(image) * args.classes;
    HighestLogits<1> first;
    each_run<N>(reference, args.classes, [&](std::int32_t of, const float(&r)[N]) {
#pragma unroll
      for (int i = 0; i < N; i++) first.insert(r[i], of + i);
    });
    first.merge_block(shared_cast<float>(memory + kTopValues) + kMostLossWarps, shared_cast<std::int32_t>(memory + kTopPlaces) + kMostLossWarps);
    double rest = 0, rest_of_reference = 0, divergence = 0;
    each_run<N>(logits, args.classes, [&](std::int32_t of, const float(&z)[N]) {
#pragma unroll
      for (int i = 0; i < N; i++) {
        if (of + i != top.at[0]) rest += static_cast<double>(exp_of_difference(z[i], top.value[0]));
        if (of + i != first.at[0]) rest_of_reference += static_cast<double>(exp_of_difference(reference[of + i], first.value[0]));
      }
    });
    const Softmax p(first, sum_over_block(rest_of_reference, sums)), q(top, sum_over_block(rest, sums + kMostLossWarps));
    const Divergence loss(p, q);
    each_run<N>(logits, args.classes, [&](std::int32_t of, const float(&z)[N]) {
#pragma unroll
      for (int i = 0; i < N; i++) divergence += loss.term(z[i], reference[of + i]);
    });
    const auto value = static_cast<float>(sum_over_block(divergence, sums + 2 * kMostLossWarps));
    conclude(value, [&](std::int32_t of, float z) { return loss.gradient(of, z, reference[of]); });
  } else {
    if constexpr (kLoss == Loss::dlr) {
      if (args.targeted) {
        const Dlr loss(logits, label, target, top);
        conclude(loss.value, [&](std::int32_t of, float z) { return loss.gradient(of, z); });
        return;
      }
    }
    const float others = top.at[0] == goal ? top.value[1] : top.value[0];
    std::int32_t mine = 0;
    each_run<N>(logits, args.classes, [&](std::int32_t of, const float(&z)[N]) {
#pragma unroll
      for (int i = 0; i < N; i++) mine += of + i != goal && z[i] == others ? 1 : 0;
    });
    const float equal = static_cast<float>(sum_over_block(static_cast<double>(mine), sums));
    if constexpr (kLoss == Loss::margin) {
      const Margin loss(logits, goal, others, equal);
      conclude(loss.value, [&](std::int32_t of, float z) { return loss.gradient(of, z); });
    } else {
      const Dlr loss(logits, label, top, others, equal);
      conclude(loss.value, [&](std::int32_t of, float z) { return loss.gradient(of, z); });
    }
  }
}

template <class T, Loss kLoss>
void launch_loss_head(const LossHead& args, bool wide, unsigned threads, rt::Stream stream) {
  const auto run = [&](auto kernel) {
    launch("loss_head", kernel, dim3(static_cast<unsigned>(args.images)), dim3(threads), kLossShared, stream, args);
  };
  constexpr int width = sizeof(T) == 4 ? 4 : 8;
  if (wide)
    run(loss_head_kernel<T, kLoss, width>);
  else
    run(loss_head_kernel<T, kLoss, 1>);
}

}  // namespace

void loss_head(const LossHead& args, rt::Stream stream) {
  const std::int32_t least = args.loss == Loss::margin ? 2 : args.loss == Loss::dlr ? (args.targeted ? 4 : 3) : 1;
  require(args.classes >= least, "loss_head", "the loss needs more classes");
  require(args.images >= 0 && args.logits != nullptr, "loss_head", "logits are needed");
  require(!args.targeted || args.targets != nullptr, "loss_head", "targets are needed");
  require((args.targeted && args.loss != Loss::dlr) || args.labels != nullptr, "loss_head", "labels are needed");
  require(args.loss != Loss::kl || !args.targeted, "loss_head", "KL has no targeted form");
  require(args.loss != Loss::kl || args.reference != nullptr, "loss_head", "reference logits are needed");
  if (args.images == 0) return;
  const std::int32_t width = args.precision == Precision::float32 ? 4 : 8;
  const bool wide = args.classes % width == 0 && aligned16(args.logits) && aligned16(args.dlogits) && aligned16(args.reference);
  // Four warps for a thousand classes leave each thread one or two runs.
  const unsigned threads = args.classes <= 256 ? 32 : args.classes <= 4096 ? 128 : 512;
  with_element(args.precision, [&]<class T>(Element<T>) {
    switch (args.loss) {
      case Loss::cross_entropy: return launch_loss_head<T, Loss::cross_entropy>(args, wide, threads, stream);
      case Loss::margin: return launch_loss_head<T, Loss::margin>(args, wide, threads, stream);
      case Loss::dlr: return launch_loss_head<T, Loss::dlr>(args, wide, threads, stream);
      case Loss::kl: return launch_loss_head<T, Loss::kl>(args, wide, threads, stream);
    }
  });
}

}  // namespace signstep::kernels
