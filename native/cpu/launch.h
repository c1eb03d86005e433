// How a kernel of the processor is launched: at once, or into the graph that its stream records; and how it shares its work among threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>

#include "../core/parallel/thread_pool.h"
#include "../cuda/engine/runtime.h"

namespace signstep::cpu {

// Runs `work` now, or when the graph is launched that `stream` is recording.
void submit(rt::Stream stream, std::function<void()> work);

// body(i) for 0 <= i < count, in any order, on all threads. Must not throw.
template <class Body>
void parallel(std::size_t count, const Body& body) {
  if (count == 1) return body(std::size_t{0});
  ThreadPool::instance().run(count, [](const void* context, std::size_t i) { (*static_cast<const Body*>(context))(i); }, &body);
}

// body(first, last) over pieces of [0, count), several a thread but none shorter than `least`.
template <class Body>
void parallel_ranges(std::size_t count, std::size_t least, const Body& body) {
  if (count == 0) return;
  const std::size_t most = static_cast<std::size_t>(ThreadPool::instance().threads()) * 4;
  const std::size_t pieces = std::max<std::size_t>(1, std::min(most, count / std::max<std::size_t>(least, 1)));
  parallel(pieces, [&](std::size_t i) { body(count * i / pieces, count * (i + 1) / pieces); });
}

}  // namespace signstep::cpu
