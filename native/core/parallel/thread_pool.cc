#include "thread_pool.h"

#include <algorithm>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace signstep {
namespace {

// What this process may use: containers and taskset narrow the affinity mask, which hardware_concurrency() of older C++ libraries
// ignores.
std::uint32_t usable_processors() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return static_cast<std::uint32_t>(std::max(1, CPU_COUNT(&set)));
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

}  // namespace

struct ThreadPool::Loop {
  const std::size_t count;
  const Task task;
  const void* const context;
  std::atomic<std::size_t> next{0};
  // Under the pool's mutex:
  std::uint32_t wanted;      // workers that may still join
  std::uint32_t joined = 0;  // workers inside

  void take_part() {
    for (std::size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) task(context, i);
  }
};

ThreadPool& ThreadPool::instance() {
  static auto* pool = new ThreadPool;
  return *pool;
}

ThreadPool::ThreadPool() : threads_(usable_processors()) {}

void ThreadPool::set_threads(std::uint32_t count) { threads_.store(count, std::memory_order_relaxed); }

void ThreadPool::start_workers(std::uint32_t count) {
  for (; workers_ < count; ++workers_) std::thread([this] { work(); }).detach();
}

void ThreadPool::run(std::size_t count, Task task, const void* context) {
  const std::size_t useful = std::min<std::size_t>(threads(), count);
  if (useful <= 1) {
    for (std::size_t i = 0; i < count; ++i) task(context, i);
    return;
  }
  const auto helpers = static_cast<std::uint32_t>(useful - 1);
  Loop loop{.count = count, .task = task, .context = context, .wanted = helpers};
  {
    const std::lock_guard lock(mutex_);
    start_workers(helpers);
    open_.push_back(&loop);
  }
  helpers == 1 ? wake_workers_.notify_one() : wake_workers_.notify_all();
  loop.take_part();
  std::unique_lock lock(mutex_);
  std::erase(open_, &loop);
  wake_callers_.wait(lock, [&] { return loop.joined == 0; });
}

void ThreadPool::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_workers_.wait(lock, [&] { return !open_.empty(); });
    Loop& loop = *open_.front();
    ++loop.joined;
    if (--loop.wanted == 0) open_.pop_front();
    lock.unlock();
    loop.take_part();
    lock.lock();
    if (--loop.joined == 0) wake_callers_.notify_all();
  }
}

}  // namespace signstep
