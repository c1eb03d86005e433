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
template <class T>
class PinnedArray {
 public:
  PinnedArray() = default;
  explicit PinnedArray(std::size_t count) : data_(static_cast<T*>(rt::allocate_pinned(count * sizeof(T)))) {}
  ~PinnedArray() { rt::release_pinned(data_); }
  PinnedArray(PinnedArray&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  PinnedArray& operator=(PinnedArray&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }
  T* data() const { return data_; }

 private:
  T* data_ = nullptr;
};

// An array on the device and its pinned twin on the host, through which it is written and read.
template <class T>
class Mirrored {
 public:
  explicit Mirrored(std::size_t count) : device_(count), host_(count) {}
  T* data() const { return device_.data(); }
  T* host() const { return host_.data(); }
  // Of the first `count` elements. The host's twin is the copy's until the stream has got there.
  void upload(std::size_t count, rt::Stream stream) { rt::upload(data(), host(), count * sizeof(T), stream); }
  void download(std::size_t count, rt::Stream stream) { rt::download(host(), data(), count * sizeof(T), stream); }

 private:
  DeviceArray<T> device_;
  PinnedArray<T> host_;
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
