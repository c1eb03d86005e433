// A thread that runs the work of one program (or of one engine before there is a program) in the order in which it was given.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

namespace signstep {

class EngineThread : public std::enable_shared_from_this<EngineThread> {
 public:
  // Throws std::system_error where no thread can be had.
  static std::shared_ptr<EngineThread> Start();
  EngineThread(const EngineThread&) = delete;
  EngineThread& operator=(const EngineThread&) = delete;

  // Work must not throw. False once Finish was called: it will not run.
  bool Submit(std::function<void()> work);
  // Runs `last` after all that was submitted, then the thread ends. Of several calls the first counts.
  void Finish(std::function<void()> last);
  // Waits until nothing runs and nothing waits; or until the time is up.
  void WaitIdle();
  void WaitIdle(std::chrono::milliseconds at_most);

 private:
  EngineThread() = default;
  void Loop();
  bool idle() const { return queue_.empty() && !busy_; }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  bool finishing_ = false;
  bool busy_ = false;
};

}  // namespace signstep
