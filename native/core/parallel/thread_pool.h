// The threads that share a call's work. One pool per process; any number of threads may call run() at once, each takes part in its
// own work, so a call never waits for the pool to be free.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>

namespace signstep {

class ThreadPool {
 public:
  // Never destroyed: its threads may still run when the process exits.
  static ThreadPool& instance();

  using Task = void (*)(const void* context, std::size_t index);

  // Calls task(context, 0 … count-1), each once, in any order, on up to threads() threads, and returns when all have ended. The task
  // must not throw.
  void run(std::size_t count, Task task, const void* context);

  std::uint32_t threads() const { return threads_.load(std::memory_order_relaxed); }
  // The calling thread included. Threads started earlier are kept, asleep.
  void set_threads(std::uint32_t count);

 private:
  struct Loop;

  ThreadPool();
  void start_workers(std::uint32_t count);
  void work();

  std::mutex mutex_;
  std::condition_variable wake_workers_;
  std::condition_variable wake_callers_;
  std::deque<Loop*> open_;  // loops that would take another worker
  std::uint32_t workers_ = 0;
  std::atomic<std::uint32_t> threads_;
};

}  // namespace signstep
