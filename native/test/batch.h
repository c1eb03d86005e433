// Batches of random images and gradients for the tests, at any offset from an aligned address.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "signstep/signstep.h"

namespace test {

inline const signstep_api& api() { return *signstep_get_api(SIGNSTEP_ABI_VERSION); }

// An array of floats that begins `offset` floats after an address aligned to 64 bytes, with guards on both sides.
class Floats {
 public:
  explicit Floats(std::size_t size, std::size_t offset = 0) : size_(size), storage_(size + offset + 2 * kGuard + 16, kCanary) {
    const auto address = reinterpret_cast<std::uintptr_t>(storage_.data() + kGuard);
    begin_ = storage_.data() + kGuard + (64 - address % 64) % 64 / sizeof(float) + offset;
  }
  Floats(const Floats&) = delete;
  Floats& operator=(const Floats&) = delete;

  float* data() { return begin_; }
  const float* data() const { return begin_; }
  std::size_t size() const { return size_; }
  float& operator[](std::size_t i) { return begin_[i]; }
  float operator[](std::size_t i) const { return begin_[i]; }
  std::vector<float> copy() const { return {begin_, begin_ + size_}; }
  void assign(const std::vector<float>& values) { std::memcpy(begin_, values.data(), values.size() * sizeof(float)); }
  // True if nothing was written around the array.
  bool intact() const { return begin_[-1] == kCanary && begin_[size_] == kCanary; }

 private:
  static constexpr std::size_t kGuard = 16;
  static constexpr float kCanary = 12345.0f;
  std::size_t size_;
  std::vector<float> storage_;
  float* begin_;
};

struct Batch {
  std::size_t count, elements;
  Floats x, x0, g, momentum;
  std::vector<float> alpha, eps;
  std::vector<std::int32_t> indices, nan;
  std::vector<std::uint8_t> zero;

  // x within 2·eps of x0, gradients over many magnitudes, some zero and some NaN; the last sample's gradient is all zero.
  Batch(std::size_t samples, std::size_t per, std::uint32_t seed, float nan_share = 0.01f)
      : count(samples), elements(per), x(samples * per, seed % 7), x0(samples * per, seed % 5), g(samples * per, seed % 3),
        momentum(samples * per, seed % 11), alpha(samples), eps(samples), indices(samples), nan(samples, -1), zero(samples, 9) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> unit(0, 1);
    for (std::size_t s = 0; s < count; ++s) {
      eps[s] = 0.001f + 0.1f * unit(random);
      alpha[s] = eps[s] * unit(random);
      indices[s] = static_cast<std::int32_t>(random() >> 1);
    }
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::size_t s = i / elements;
      x0[i] = unit(random);
      x[i] = x0[i] + 2 * eps[s] * (2 * unit(random) - 1);
      const float choice = unit(random);
      const float magnitude = std::exp2(40 * unit(random) - 30);
      g[i] = choice < nan_share ? __builtin_nanf("") : choice < 0.1f || s + 1 == count ? 0.0f : magnitude * (unit(random) - 0.5f);
      momentum[i] = unit(random) - 0.5f;
    }
  }

  signstep_step step(std::int32_t direction = 1) {
    return {.count = count, .elements = elements, .x = x.data(), .x0 = x0.data(), .gradient = g.data(), .momentum = momentum.data(),
            .alpha = alpha.data(), .eps = eps.data(), .decay = 0.9f, .direction = direction, .nan_counts = nan.data(),
            .zero_flags = zero.data(), .cancel = nullptr};
  }
  signstep_start start(std::uint64_t seed = 1, std::uint32_t restart = 0) {
    return {.count = count, .elements = elements, .out = x.data(), .x0 = x0.data(), .eps = eps.data(),
            .sample_indices = indices.data(), .seed = seed, .restart = restart, .scale = 1, .sphere = 0, .cancel = nullptr};
  }
  bool intact() const { return x.intact() && x0.intact() && g.intact() && momentum.intact(); }
};

// Every instruction set this processor has; the widest is set again at the end.
template <class Body>
void on_every_instruction_set(Body body) {
  const std::string widest = api().instruction_set();
  for (const char* name : {"scalar", "neon", "avx2", "avx512"})
    if (api().set_instruction_set(name) == SIGNSTEP_OK) body(name);
  api().set_instruction_set(widest.c_str());
}

// Sizes around the lanes, the Philox group of 64 and the run of 16,384 elements.
inline const std::size_t kSizes[] = {1, 2, 3, 4, 5, 7, 15, 16, 17, 31, 33, 63, 64, 65, 127, 255, 1000, 3072, 4999, 16383, 16385, 40001};

}  // namespace test
