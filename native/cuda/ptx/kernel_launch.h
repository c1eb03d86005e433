// launch() of the vocabulary: one place for large shared memory, the check of the error and its message.
#pragma once

#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>

#include "../engine/runtime.h"

namespace signstep::device {

// Defined by the device runtime. Throws rt::Failure{launch, "<name>: <what>"}.
void launch_kernel(const char* name, const void* kernel, dim3 grid, dim3 block, std::size_t shared_bytes, rt::Stream stream, void** arguments);

template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared_bytes, rt::Stream stream, A&&... arguments) {
  std::tuple<std::remove_cv_t<P>...> values(std::forward<A>(arguments)...);
  std::apply(
      [&](auto&... value) {
        void* pointers[] = {static_cast<void*>(&value)..., nullptr};
        launch_kernel(name, reinterpret_cast<const void*>(kernel), grid, block, shared_bytes, stream, pointers);
      },
      values);
}

}  // namespace signstep::device
