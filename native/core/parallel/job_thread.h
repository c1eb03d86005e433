// The device's one job thread: jobs run in the order of submission, each may be cancelled, and the submitter is told of its end.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

#include "signstep/signstep.h"

namespace signstep {

struct Job {
  // Given the cancel flag to poll. Must not throw.
  std::function<signstep_status(const std::int32_t* cancel)> work;
  std::function<void(signstep_status)> done;
  std::int32_t cancel = 0;  // accessed atomically
  bool ended = false;       // under the thread's mutex
};

class JobThread {
 public:
  // Never destroyed, like the thread pool.
  static JobThread& instance();

  void submit(std::shared_ptr<Job> job);
  // Blocks until job.done has returned.
  void wait(const Job& job);

 private:
  void loop();

  std::mutex mutex_;
  std::condition_variable submitted_;
  std::condition_variable ended_;
  std::deque<std::shared_ptr<Job>> queue_;
  bool started_ = false;
};

}  // namespace signstep
