// Work on engines, as promises of one JavaScript environment.
//
// A job touches JavaScript's memory only in `take` (before the work) and `give` (after it), both under the lock that closing the
// environment takes; the work between lives on native memory. So process.exit and worker.terminate wait for a copy at most, never for a
// kernel: a job that is under way is cancelled, ends on its thread, and what it held is freed there.
#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine_thread.h"
#include "signstep/engine.h"

namespace signstep {

// How a job ended, with the message of a failure.
struct Outcome {
  signstep_status status = SIGNSTEP_OK;
  std::string error = {};

  // Of a call just made on this thread.
  static Outcome Of(const signstep_engine& engine, signstep_status status) {
    return status == SIGNSTEP_OK ? Outcome{} : Outcome{status, engine.last_error()};
  }
};

struct EngineWork {
  std::function<void()> take = {};  // may be empty
  std::function<Outcome(const std::int32_t* cancel)> work;
  std::function<void()> give = {};  // may be empty; not called after a failure
};

class EngineJobs {
 public:
  explicit EngineJobs(Napi::Env env);
  EngineJobs(const EngineJobs&) = delete;
  EngineJobs& operator=(const EngineJobs&) = delete;

  // Returns { promise, cancel() }. `arrays` own the memory that take and give use; `result` makes what the promise resolves to, on the
  // environment's thread (undefined where it is empty).
  Napi::Object Submit(Napi::Env env, EngineThread& thread, EngineWork work, const std::vector<Napi::Value>& arrays,
                      std::function<Napi::Value(Napi::Env)> result = {});

  // A program's thread, to be told to free what it holds when the environment closes.
  void Watch(const std::shared_ptr<EngineThread>& thread, std::function<void()> free);

 private:
  struct Job;
  struct Home;
  struct Pending;
  struct Watched;
  static void Settle(Napi::Env env, Napi::Function, EngineJobs* jobs, Job* key);
  using Messenger = Napi::TypedThreadSafeFunction<EngineJobs, Job, &EngineJobs::Settle>;
  static void Run(Job& job);
  void Close();

  std::shared_ptr<Home> home_;
  std::unordered_map<Job*, std::shared_ptr<Pending>> pending_;
  std::vector<Watched> watched_;
};

struct EngineJobs::Watched {
  std::weak_ptr<EngineThread> thread;
  std::function<void()> free;
};

}  // namespace signstep
