// launch() of the vocabulary: binds a kernel to its arguments and runs it, or records it while the stream captures.
#pragma once

#include <functional>
#include <memory>
#include <tuple>

#include "../cuda/engine/runtime.h"
#include "launch.h"

namespace signstep::sim {

// Runs now, or on each launch of the graph that `stream` records.
void submit(rt::Stream stream, std::function<void()> work);
bool capturing(rt::Stream stream);

}  // namespace signstep::sim

namespace signstep::device {

template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared_bytes, rt::Stream stream, A&&... arguments) {
  struct Bound {
    void (*kernel)(P...);
    std::tuple<std::remove_cv_t<P>...> arguments;
  };
  const auto invoke = [](const void* bound) {
    const auto& b = *static_cast<const Bound*>(bound);
    std::apply(b.kernel, b.arguments);
  };
  auto bound = std::make_shared<const Bound>(Bound{kernel, std::tuple<std::remove_cv_t<P>...>(std::forward<A>(arguments)...)});
  sim::submit(stream, [=] { sim::run_grid({name, invoke, bound.get(), grid, block, shared_bytes}); });
}

}  // namespace signstep::device
