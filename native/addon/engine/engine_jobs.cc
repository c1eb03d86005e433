#include "engine_jobs.h"

#include <algorithm>
#include <exception>
#include <utility>

namespace signstep {

// What the job threads may touch of the environment, while it is open.
struct EngineJobs::Home {
  std::mutex mutex;
  bool open = true;
  Messenger messenger;
};

struct EngineJobs::Job {
  std::shared_ptr<Home> home;
  EngineWork work;
  std::int32_t cancel = 0;  // accessed atomically
  Outcome outcome;          // written before the job is sent home
};

// What only the environment's thread touches.
struct EngineJobs::Pending {
  Pending(Napi::Env env, std::shared_ptr<Job> of) : job(std::move(of)), deferred(Napi::Promise::Deferred::New(env)) {}

  std::shared_ptr<Job> job;
  Napi::Promise::Deferred deferred;
  std::vector<Napi::ObjectReference> arrays;
  std::function<Napi::Value(Napi::Env)> result;
};

namespace {

// A running step ends within a launch of its cancellation, milliseconds on a GPU; a simulated one may take longer and is left behind.
constexpr std::chrono::milliseconds kGrace{200};

const char* CodeOf(signstep_status status) {
  switch (status) {
    case SIGNSTEP_CANCELLED: return "ABORTED";
    case SIGNSTEP_INVALID: return "INVALID";
    case SIGNSTEP_UNSUPPORTED: return "UNSUPPORTED";
    default: return "RUNTIME_FAILED";
  }
}

}  // namespace

EngineJobs::EngineJobs(Napi::Env env) : home_(std::make_shared<Home>()) {
  home_->messenger = Messenger::New(env, "signstep:engine", 0, 1, this);
  home_->messenger.Unref(env);
  // Hooks run in reverse order: this one before the thread-safe function's own.
  env.AddCleanupHook([](EngineJobs* jobs) { jobs->Close(); }, this);
}

Napi::Object EngineJobs::Submit(Napi::Env env, EngineThread& thread, EngineWork work, const std::vector<Napi::Value>& arrays,
                                std::function<Napi::Value(Napi::Env)> result) {
  auto job = std::make_shared<Job>();
  job->home = home_;
  job->work = std::move(work);
  auto pending = std::make_shared<Pending>(env, job);
  for (const Napi::Value& array : arrays) pending->arrays.push_back(Napi::Persistent(array.As<Napi::Object>()));
  pending->result = std::move(result);
  const Napi::Object handle = Napi::Object::New(env);
  handle.Set("promise", pending->deferred.Promise());
  handle.Set("cancel", Napi::Function::New(
                           env,
                           [weak = std::weak_ptr(job)](const Napi::CallbackInfo&) {
                             if (const auto alive = weak.lock()) __atomic_store_n(&alive->cancel, 1, __ATOMIC_RELAXED);
                           },
                           "cancel"));
  if (!thread.Submit([job] { Run(*job); })) throw Napi::Error::New(env, "it has been disposed of");
  // While a job is under way the environment stays alive for its promise.
  if (pending_.empty()) home_->messenger.Ref(env);
  pending_.emplace(job.get(), std::move(pending));
  return handle;
}

void EngineJobs::Run(Job& job) {
  Home& home = *job.home;
  const auto with_javascript = [&](const std::function<void()>& copy) {
    const std::lock_guard lock(home.mutex);
    if (!home.open) return false;
    if (copy) copy();
    return true;
  };
  try {
    if (__atomic_load_n(&job.cancel, __ATOMIC_RELAXED) != 0 || !with_javascript(job.work.take))
      job.outcome = {SIGNSTEP_CANCELLED, "the work was cancelled"};
    else
      job.outcome = job.work.work(&job.cancel);
    if (job.outcome.status == SIGNSTEP_OK) with_javascript(job.work.give);
  } catch (const std::exception& error) {
    job.outcome = {SIGNSTEP_INTERNAL, error.what()};
  }
  job.work = {};  // frees the copies here
  const std::lock_guard lock(home.mutex);
  if (home.open) home.messenger.NonBlockingCall(&job);
}

void EngineJobs::Settle(Napi::Env env, Napi::Function, EngineJobs* jobs, Job* key) {
  if (static_cast<napi_env>(env) == nullptr) return;  // teardown: Close() has been here
  const auto found = jobs->pending_.find(key);
  if (found == jobs->pending_.end()) return;
  const std::shared_ptr<Pending> pending = std::move(found->second);
  jobs->pending_.erase(found);
  if (jobs->pending_.empty()) jobs->home_->messenger.Unref(env);
  const Outcome& outcome = pending->job->outcome;
  if (outcome.status == SIGNSTEP_OK) {
    pending->deferred.Resolve(pending->result ? pending->result(env) : env.Undefined());
    return;
  }
  Napi::Error error = Napi::Error::New(env, outcome.error);
  error.Set("code", Napi::String::New(env, CodeOf(outcome.status)));
  pending->deferred.Reject(error.Value());
}

void EngineJobs::Watch(const std::shared_ptr<EngineThread>& thread, std::function<void()> free) {
  watched_.erase(std::remove_if(watched_.begin(), watched_.end(), [](const Watched& each) { return each.thread.expired(); }),
                 watched_.end());
  watched_.push_back({thread, std::move(free)});
}

void EngineJobs::Close() {
  {
    const std::lock_guard lock(home_->mutex);
    home_->open = false;
  }
  for (const auto& entry : pending_) __atomic_store_n(&entry.first->cancel, 1, __ATOMIC_RELAXED);
  pending_.clear();
  for (const Watched& each : watched_)
    if (const auto thread = each.thread.lock()) thread->Finish(each.free);
  for (const Watched& each : watched_)
    if (const auto thread = each.thread.lock()) thread->WaitIdle(kGrace);
  watched_.clear();
}

}  // namespace signstep
