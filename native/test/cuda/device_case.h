// What the kernel tests share: device arrays, random numbers as networks have them, the error measure, and every case under several warp
// orders. The same sources test the simulator and a GPU.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "../../cuda/kernels/kernels.h"
#include "../harness.h"

namespace device_case {

using signstep::kernels::Precision;

// ---- numbers of 16 bits, on the host -----------------------------------------------------------------------------------------------------
std::uint16_t to_bits16(float value, Precision precision);  // round to nearest even
float from_bits16(std::uint16_t bits, Precision precision);
// What the precision makes of a float: itself for float32.
float rounded(float value, Precision precision);

// Values on the device in the given precision, float outside.
class Values {
 public:
  Values(const std::vector<float>& host, Precision precision);  // rounds
  Values(std::size_t count, Precision precision);                // poisoned with NaN
  ~Values();
  Values(const Values&) = delete;
  Values& operator=(const Values&) = delete;
  void* data() const { return data_; }
  std::vector<float> host() const;
  std::size_t size() const { return count_; }

 private:
  void* data_;
  std::size_t count_;
  Precision precision_;
};

// Plain arrays of 1, 4 or 8 byte elements.
template <class T>
class Array {
 public:
  explicit Array(const std::vector<T>& host) : Array(host.size()) {
    signstep::rt::upload(data_, host.data(), host.size() * sizeof(T), nullptr);
    signstep::rt::synchronize(nullptr);
  }
  explicit Array(std::size_t count) : count_(count) {
    data_ = static_cast<T*>(signstep::rt::allocate(count * sizeof(T)));
    signstep::rt::fill(data_, 0xFF, count * sizeof(T), nullptr);
    signstep::rt::synchronize(nullptr);
  }
  ~Array() { signstep::rt::release(data_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  T* data() const { return data_; }
  std::vector<T> host() const {
    std::vector<T> out(count_);
    signstep::rt::synchronize(nullptr);
    signstep::rt::download(out.data(), data_, count_ * sizeof(T), nullptr);
    signstep::rt::synchronize(nullptr);
    return out;
  }

 private:
  T* data_;
  std::size_t count_;
};

// Normal numbers with a mean; every `outlier_every`-th column (0: none) is 30 times as large, as in trained transformers.
std::vector<float> normal(std::size_t rows, std::size_t columns, std::mt19937& random, float mean = 0, float deviation = 1, int outlier_every = 0);

// |out - reference| / |reference|, Euclidean; infinite where out holds a NaN that the reference has not.
double relative_error(const std::vector<float>& out, const std::vector<double>& reference);
// The error that rounding the exact result to the precision makes: what a perfect kernel could reach.
double rounding_error(const std::vector<double>& reference, Precision precision);

// Runs body under warp orders 0..count-1 on the simulator (0 = in order), once on a GPU.
template <class Body>
void under_schedules(Body&& body, int count = 4) {
  for (int seed = 0; seed < count; seed++) {
    signstep::rt::set_schedule(static_cast<std::uint32_t>(seed));
    body(seed);
  }
  signstep::rt::set_schedule(0);
}

}  // namespace device_case
