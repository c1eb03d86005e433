#include "job_queue.h"

#include <utility>

namespace signstep {

struct JobQueue::Pending {
  Pending(Napi::Env env, JobQueue& owner) : queue(owner), deferred(Napi::Promise::Deferred::New(env)) {}

  JobQueue& queue;
  Napi::Promise::Deferred deferred;
  std::vector<Napi::ObjectReference> arrays;
  signstep_job* job = nullptr;  // null once settled
  // Written on the job thread before it sends this home.
  signstep_status status = SIGNSTEP_OK;
  std::string error;
};

JobQueue::JobQueue(Napi::Env env, const signstep_api& api)
    : api_(api), messenger_(Messenger::New(env, "signstep:job", 0, 1, this)) {
  messenger_.Unref(env);
  // Hooks run in reverse order: this one before the thread-safe function's own, which must still be there while jobs end.
  env.AddCleanupHook([](JobQueue* queue) { queue->Close(); }, this);
}

JobQueue::~JobQueue() = default;

Napi::Object JobQueue::Submit(Napi::Env env, signstep_rule rule, const signstep_step& step, const std::vector<Napi::Value>& arrays) {
  auto pending = std::make_shared<Pending>(env, *this);
  for (const Napi::Value& array : arrays) pending->arrays.push_back(Napi::Persistent(array.As<Napi::Object>()));
  const Napi::Object handle = Napi::Object::New(env);
  handle.Set("promise", pending->deferred.Promise());
  handle.Set("cancel", Napi::Function::New(
                           env,
                           [weak = std::weak_ptr(pending)](const Napi::CallbackInfo&) {
                             const auto alive = weak.lock();
                             if (alive && alive->job != nullptr) alive->queue.api_.job_cancel(alive->job);
                           },
                           "cancel"));
  if (api_.job_submit(rule, &step, &JobQueue::OnDone, pending.get(), &pending->job) != SIGNSTEP_OK)
    throw Napi::TypeError::New(env, api_.last_error());
  // While a job is under way the environment stays alive for its promise.
  if (pending_.empty()) messenger_.Ref(env);
  pending_.emplace(pending.get(), pending);
  return handle;
}

void JobQueue::OnDone(void* user, signstep_status status, const char* error) {
  auto* pending = static_cast<Pending*>(user);
  pending->status = status;
  pending->error = error;
  // Refused only while the environment closes; then Close() lets go of the job.
  pending->queue.messenger_.NonBlockingCall(pending);
}

void JobQueue::Settle(Napi::Env env, Napi::Function, JobQueue* queue, Pending* key) {
  if (static_cast<napi_env>(env) == nullptr) return;  // teardown: Close() has been here
  const auto found = queue->pending_.find(key);
  if (found == queue->pending_.end()) return;
  const std::shared_ptr<Pending> pending = std::move(found->second);
  queue->pending_.erase(found);
  if (queue->pending_.empty()) queue->messenger_.Unref(env);
  queue->api_.job_release(std::exchange(pending->job, nullptr));
  if (pending->status == SIGNSTEP_OK) {
    pending->deferred.Resolve(env.Undefined());
    return;
  }
  Napi::Error error = Napi::Error::New(env, pending->error);
  error.Set("code", Napi::String::New(env, pending->status == SIGNSTEP_CANCELLED ? "ABORTED" : "RUNTIME_FAILED"));
  pending->deferred.Reject(error.Value());
}

void JobQueue::Close() {
  for (const auto& entry : pending_) api_.job_cancel(entry.first->job);
  for (const auto& entry : pending_) {
    api_.job_wait(entry.first->job);
    api_.job_release(std::exchange(entry.first->job, nullptr));
  }
  pending_.clear();
}

}  // namespace signstep
