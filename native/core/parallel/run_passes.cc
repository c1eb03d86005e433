#include "run_passes.h"

#include <algorithm>

#include "thread_pool.h"

namespace signstep {
namespace {

// Below this, waking a thread (some 10 microseconds) costs more than the work it takes over.
constexpr std::size_t kWorthSharing = 2 * kRun;

bool cancelled(const Batch& batch) {
  return batch.cancel != nullptr && __atomic_load_n(batch.cancel, __ATOMIC_RELAXED) != 0;
}

Run run_at(const Batch& batch, std::size_t index) {
  const std::size_t sample = index / batch.runs(), first = index % batch.runs() * kRun;
  return {
      .sample = sample,
      .index = index,
      .first = first,
      .offset = sample * batch.elements + first,
      .length = std::min(kRun, batch.elements - first),
  };
}

void for_each(const Batch& batch, std::size_t count, const std::function<void(std::size_t)>& body) {
  if (batch.count * batch.elements < kWorthSharing) {
    for (std::size_t i = 0; i < count; ++i) body(i);
    return;
  }
  ThreadPool::instance().run(
      count, [](const void* context, std::size_t i) { (*static_cast<const std::function<void(std::size_t)>*>(context))(i); }, &body);
}

}  // namespace

bool run_passes(const Batch& batch, std::initializer_list<Pass> passes) {
  const auto conclude = [&](const Pass& pass, std::size_t sample) {
    if (pass.conclude && !cancelled(batch)) pass.conclude(sample);
  };
  if (passes.size() > 1 && batch.count >= ThreadPool::instance().threads()) {
    // A sample at a time: what one pass has read, the next finds in the cache. 1.5 × faster for the L2 step on
    // 64×3×224×224 with 32 MB of L3; no difference where the whole batch fits there.
    for_each(batch, batch.count, [&](std::size_t sample) {
      for (const Pass& pass : passes) {
        for (std::size_t i = 0; i < batch.runs(); ++i) {
          if (cancelled(batch)) return;
          pass.each_run(run_at(batch, sample * batch.runs() + i));
        }
        conclude(pass, sample);
      }
    });
  } else {
    for (const Pass& pass : passes) {
      for_each(batch, batch.count * batch.runs(), [&](std::size_t index) {
        if (!cancelled(batch)) pass.each_run(run_at(batch, index));
      });
      for (std::size_t sample = 0; sample < batch.count; ++sample) conclude(pass, sample);
    }
  }
  return !cancelled(batch);
}

}  // namespace signstep
