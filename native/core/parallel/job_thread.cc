#include "job_thread.h"

#include <thread>
#include <utility>

namespace signstep {

JobThread& JobThread::instance() {
  static auto* thread = new JobThread;
  return *thread;
}

void JobThread::submit(std::shared_ptr<Job> job) {
  {
    const std::lock_guard lock(mutex_);
    if (!started_) std::thread([this] { loop(); }).detach();
    started_ = true;
    queue_.push_back(std::move(job));
  }
  submitted_.notify_one();
}

void JobThread::wait(const Job& job) {
  std::unique_lock lock(mutex_);
  ended_.wait(lock, [&] { return job.ended; });
}

void JobThread::loop() {
  for (;;) {
    std::shared_ptr<Job> job;
    {
      std::unique_lock lock(mutex_);
      submitted_.wait(lock, [&] { return !queue_.empty(); });
      job = std::move(queue_.front());
      queue_.pop_front();
    }
    job->done(job->work(&job->cancel));
    {
      const std::lock_guard lock(mutex_);
      job->ended = true;
    }
    ended_.notify_all();
  }
}

}  // namespace signstep
