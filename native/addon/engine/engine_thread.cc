#include "engine_thread.h"

#include <thread>
#include <utility>

namespace signstep {

std::shared_ptr<EngineThread> EngineThread::Start() {
  const std::shared_ptr<EngineThread> made(new EngineThread);
  // Detached: it owns itself and all it touches, so an environment that is torn down need not wait for a long kernel.
  std::thread([made] { made->Loop(); }).detach();
  return made;
}

bool EngineThread::Submit(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    if (finishing_) return false;
    queue_.push_back(std::move(work));
  }
  changed_.notify_all();
  return true;
}

void EngineThread::Finish(std::function<void()> last) {
  {
    const std::lock_guard lock(mutex_);
    if (finishing_) return;
    finishing_ = true;
    queue_.push_back(std::move(last));
  }
  changed_.notify_all();
}

void EngineThread::WaitIdle(std::chrono::milliseconds at_most) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, at_most, [&] { return idle(); });
}

void EngineThread::WaitIdle() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return idle(); });
}

void EngineThread::Loop() {
  for (;;) {
    std::function<void()> work;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return !queue_.empty() || finishing_; });
      if (queue_.empty()) return;
      work = std::move(queue_.front());
      queue_.pop_front();
      busy_ = true;
    }
    work();
    work = nullptr;
    {
      const std::lock_guard lock(mutex_);
      busy_ = false;
    }
    changed_.notify_all();
  }
}

}  // namespace signstep
