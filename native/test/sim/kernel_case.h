// What the simulator's tests share: arrays on the device, and the fault that a kernel with a planted bug must end in.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../../cuda/engine/runtime.h"
#include "../../cuda/ptx/device.h"
#include "../../sim/schedule.h"
#include "../harness.h"

namespace kernel_case {

using namespace signstep;

template <class T>
class Array {
 public:
  explicit Array(const std::vector<T>& host) : Array(host.size()) { rt::upload(data_, host.data(), host.size() * sizeof(T), nullptr); }
  explicit Array(std::size_t count) : data_(static_cast<T*>(rt::allocate(count * sizeof(T)))), count_(count) {}
  ~Array() { rt::release(data_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  T* data() const { return data_; }
  std::vector<T> host() const {
    std::vector<T> out(count_);
    rt::download(out.data(), data_, count_ * sizeof(T), nullptr);
    rt::synchronize(nullptr);
    return out;
  }

 private:
  T* data_;
  std::size_t count_;
};

// Unchecked in order; checked in order; checked in three random orders.
template <class Body>
void under_all_schedules(Body&& body) {
  sim::set_schedule({0, false});
  body();
  for (std::uint32_t seed = 0; seed < 4; ++seed) {
    sim::set_schedule({seed, true});
    body();
  }
  sim::set_schedule({});
}

// The message of the launch failure that body ends in; empty: it succeeds.
template <class Body>
std::string failure_of(Body&& body) {
  try {
    body();
    rt::synchronize(nullptr);
  } catch (const rt::Failure& failure) {
    if (failure.kind != rt::Failure::Kind::launch) return "not a launch failure: " + failure.message;
    return failure.message;
  }
  return {};
}

// The fault under every checked schedule; empty where one lets it pass.
template <class Body>
std::string caught(Body&& body) {
  std::string message;
  for (std::uint32_t seed = 0; seed < 4; ++seed) {
    sim::set_schedule({seed, true});
    message = failure_of(body);
    if (message.empty()) {
      std::printf("  schedule %u let it pass\n", seed);
      break;
    }
  }
  sim::set_schedule({});
  return message;
}

inline bool says(const std::string& message, const char* part) {
  if (message.find(part) != std::string::npos) return true;
  std::printf("  the message: %s\n", message.c_str());
  return false;
}

}  // namespace kernel_case
