// Pointers into the shared memory of a block. On the GPU Shared<T> is T*; here it is a class, so that every load and store can be checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "block.h"

namespace signstep::sim {

enum class Access : std::uint8_t { read, write, atomic };
// The running thread touches bytes of its shared memory: bounds, alignment, races. Throws Fault. Only called while checking.
void check_shared(const void* at, std::size_t bytes, std::size_t alignment, Access access);

template <class T>
class Shared;

// What p[i] gives: a value when read, a place when assigned to. Not to be kept: `auto v = p[i]` would read later, and does not compile when
// v is used; write `float v = p[i]`.
template <class T>
class Element {
 public:
  using Value = std::remove_const_t<T>;
  explicit Element(T* at) : at_(at) {}
  operator Value() const&& { return load(); }
  Value operator=(Value value) const&& {
    store(value);
    return value;
  }
  Value operator=(Element&& other) const&& {
    const Value value = other.load();
    store(value);
    return value;
  }
  template <class U>
  Value operator+=(U by) const&& {
    return set(static_cast<Value>(load() + by));
  }
  template <class U>
  Value operator-=(U by) const&& {
    return set(static_cast<Value>(load() - by));
  }
  template <class U>
  Value operator*=(U by) const&& {
    return set(static_cast<Value>(load() * by));
  }
  template <class U>
  Value operator|=(U by) const&& {
    return set(static_cast<Value>(load() | by));
  }

  Value load() const {
    static_assert(sizeof(T) <= 16 && std::is_trivially_copyable_v<T>);
    if (checking) [[unlikely]] check_shared(at_, sizeof(T), sizeof(T) == 12 ? 4 : sizeof(T), Access::read);
    Value value;
    std::memcpy(&value, at_, sizeof(T));
    return value;
  }

 private:
  void store(const Value& value) const {
    static_assert(!std::is_const_v<T>, "a store to constant shared memory");
    static_assert(sizeof(T) <= 16 && std::is_trivially_copyable_v<T>);
    if (checking) [[unlikely]] check_shared(at_, sizeof(T), sizeof(T) == 12 ? 4 : sizeof(T), Access::write);
    std::memcpy(at_, &value, sizeof(T));
  }
  Value set(Value value) const {
    store(value);
    return value;
  }
  T* at_;
};

template <class T>
class Shared {
 public:
  using Target = T;
  Shared() = default;
  explicit Shared(T* at) : at_(at) {}
  operator Shared<const T>() const
    requires(!std::is_const_v<T>)
  {
    return Shared<const T>(at_);
  }
  template <class I>
    requires std::is_integral_v<I>
  Element<T> operator[](I i) const {
    return Element<T>(at_ + static_cast<std::ptrdiff_t>(i));
  }
  Element<T> operator*() const { return Element<T>(at_); }
  template <class I>
    requires std::is_integral_v<I>
  Shared operator+(I i) const {
    return Shared(at_ + static_cast<std::ptrdiff_t>(i));
  }
  template <class I>
    requires std::is_integral_v<I>
  Shared operator-(I i) const {
    return Shared(at_ - static_cast<std::ptrdiff_t>(i));
  }
  template <class I>
    requires std::is_integral_v<I>
  Shared& operator+=(I i) {
    at_ += static_cast<std::ptrdiff_t>(i);
    return *this;
  }
  template <class I>
    requires std::is_integral_v<I>
  Shared& operator-=(I i) {
    at_ -= static_cast<std::ptrdiff_t>(i);
    return *this;
  }
  Shared& operator++() { return *this += 1; }
  std::ptrdiff_t operator-(Shared other) const { return at_ - other.at_; }
  bool operator==(const Shared&) const = default;
  auto operator<=>(const Shared&) const = default;
  T* address() const { return at_; }  // for the simulator itself

 private:
  T* at_ = nullptr;
};

// For templates of the vocabulary: the type of a value, also where p[i] was passed.
template <class T>
struct ValueOf {
  using Type = T;
};
template <class T>
struct ValueOf<Element<T>> {
  using Type = std::remove_const_t<T>;
};
template <class T>
using value_of = typename ValueOf<std::remove_cvref_t<T>>::Type;

}  // namespace signstep::sim

namespace signstep::device {

template <class T>
using Shared = sim::Shared<T>;

inline Shared<std::uint8_t> dynamic_shared() { return Shared<std::uint8_t>(reinterpret_cast<std::uint8_t*>(sim::current->block->shared)); }

template <class U, class T>
Shared<U> shared_cast(Shared<T> p) {
  return Shared<U>(reinterpret_cast<U*>(p.address()));
}
}  // namespace signstep::device
