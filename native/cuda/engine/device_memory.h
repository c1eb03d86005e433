// Device and pinned memory with an owner.
#pragma once

#include <cstddef>
#include <utility>

#include "runtime.h"

namespace signstep::engine {

template <class T>
class DeviceArray {
 public:
  DeviceArray() = default;
  explicit DeviceArray(std::size_t count) : data_(static_cast<T*>(rt::allocate(count * sizeof(T)))), count_(count) {}
  ~DeviceArray() { rt::release(data_); }
  DeviceArray(DeviceArray&& other) noexcept : data_(std::exchange(other.data_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  DeviceArray& operator=(DeviceArray&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
    return *this;
  }
  T* data() const { return data_; }
  std::size_t size() const { return count_; }
  std::size_t bytes() const { return count_ * sizeof(T); }

 private:
  T* data_ = nullptr;
  std::size_t count_ = 0;
};

// Host memory that the device copies from and to while the host goes on.
class PinnedBytes {
 public:
  PinnedBytes() = default;
  explicit PinnedBytes(std::size_t bytes) : data_(static_cast<std::byte*>(rt::allocate_pinned(bytes))) {}
  ~PinnedBytes() { rt::release_pinned(data_); }
  PinnedBytes(PinnedBytes&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  PinnedBytes& operator=(PinnedBytes&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }
  std::byte* data() const { return data_; }

 private:
  std::byte* data_ = nullptr;
};

class OwnedStream {
 public:
  OwnedStream() : stream_(rt::create_stream()) {}
  ~OwnedStream() { rt::destroy(stream_); }
  OwnedStream(const OwnedStream&) = delete;
  OwnedStream& operator=(const OwnedStream&) = delete;
  rt::Stream get() const { return stream_; }

 private:
  rt::Stream stream_;
};

class OwnedEvent {
 public:
  OwnedEvent() : event_(rt::create_event()) {}
  ~OwnedEvent() { rt::destroy(event_); }
  OwnedEvent(const OwnedEvent&) = delete;
  OwnedEvent& operator=(const OwnedEvent&) = delete;
  rt::Event get() const { return event_; }

 private:
  rt::Event event_;
};

}  // namespace signstep::engine
