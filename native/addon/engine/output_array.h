// An array that JavaScript gets, filled on a job's thread: native memory while the work runs, copied when it has ended.
#pragma once

#include <napi.h>

#include <algorithm>
#include <cstring>
#include <memory>

namespace signstep {

template <class Element, class TypedArray>
class OutputArray {
 public:
  OutputArray(Napi::Env env, std::size_t length)
      : array_(TypedArray::New(env, length)),
        reference_(std::make_shared<Napi::ObjectReference>(Napi::Persistent(array_.template As<Napi::Object>()))),
        copy_(std::make_shared<Copy>(array_.Data(), length)) {}

  Napi::Value array() const { return array_; }
  // Makes the array again on the environment's thread, after the handle of this call has gone.
  Napi::Value Value() const { return reference_->Value(); }

  struct Copy {
    Copy(Element* target, std::size_t size) : to(target), length(size) {}
    // On the job's thread: work that only waits holds no memory yet.
    Element* data() {
      elements = std::make_unique_for_overwrite<Element[]>(length);
      return elements.get();
    }
    // For work that need not fill all of it.
    Element* zeros() {
      std::fill_n(data(), length, Element{});
      return elements.get();
    }
    void give() const {
      if (length != 0) std::memcpy(to, elements.get(), length * sizeof(Element));
    }
    Element* to;
    std::size_t length;
    std::unique_ptr<Element[]> elements;
  };
  const std::shared_ptr<Copy>& copy() const { return copy_; }

 private:
  TypedArray array_;
  std::shared_ptr<Napi::ObjectReference> reference_;
  std::shared_ptr<Copy> copy_;
};

}  // namespace signstep
