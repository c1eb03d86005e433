// Steps on the core's job thread, as promises of one JavaScript environment.
//
// A job ends on the job thread; a thread-safe function brings the end home to the environment's thread, which settles the promise.
// When the environment is torn down (process.exit, worker.terminate) a cleanup hook cancels the jobs and waits until none touches
// its arrays: at most the time of one run of 16,384 elements per thread.
#pragma once

#include <napi.h>

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "signstep/signstep.h"

namespace signstep {

class JobQueue {
 public:
  JobQueue(Napi::Env env, const signstep_api& api);
  ~JobQueue();
  JobQueue(const JobQueue&) = delete;
  JobQueue& operator=(const JobQueue&) = delete;

  // Returns { promise, cancel() }. `arrays` own the memory that `step` points to and are kept alive until the job has ended.
  Napi::Object Submit(Napi::Env env, signstep_rule rule, const signstep_step& step, const std::vector<Napi::Value>& arrays);

 private:
  struct Pending;
  static void OnDone(void* user, signstep_status status, const char* error);
  static void Settle(Napi::Env env, Napi::Function, JobQueue* queue, Pending* pending);
  using Messenger = Napi::TypedThreadSafeFunction<JobQueue, Pending, &JobQueue::Settle>;

  void Close();

  const signstep_api& api_;
  Messenger messenger_;
  std::unordered_map<Pending*, std::shared_ptr<Pending>> pending_;
};

}  // namespace signstep
