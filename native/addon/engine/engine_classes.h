// The JavaScript classes of engines: src/native/engine-binding.ts says what they do. One EngineClasses per environment.
#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine_jobs.h"
#include "program_state.h"

namespace signstep {

struct EngineClasses {
  EngineClasses(Napi::Env env, const signstep_api& of);

  const signstep_api& api;
  EngineJobs jobs;
  Napi::FunctionReference engine, program, attack;

  // openEngine(name) → the promise of an Engine
  Napi::Value Open(const Napi::CallbackInfo& info);
};

// Hands a class's constructor what it wraps. Constructors are not exported: only Make calls them.
template <class State>
Napi::Object Make(Napi::Env env, const Napi::FunctionReference& constructor, EngineClasses& classes, std::shared_ptr<State> state) {
  std::pair<EngineClasses*, std::shared_ptr<State>> made(&classes, std::move(state));
  return constructor.New({Napi::External<decltype(made)>::New(env, &made)});
}
template <class State>
const std::pair<EngineClasses*, std::shared_ptr<State>>& Made(const Napi::CallbackInfo& info) {
  using Given = std::pair<EngineClasses*, std::shared_ptr<State>>;
  if (info.Length() != 1 || !info[0].IsExternal()) throw Napi::TypeError::New(info.Env(), "not to be constructed");
  return *info[0].As<Napi::External<Given>>().Data();
}

// An engine whose plugin is open.
struct EngineState {
  const signstep_engine& engine;
  std::shared_ptr<EngineThread> thread;
  std::int32_t devices;
  std::string why;  // there are none; empty where there are
};

class EngineObject final : public Napi::ObjectWrap<EngineObject> {
 public:
  static Napi::FunctionReference Define(Napi::Env env);
  explicit EngineObject(const Napi::CallbackInfo& info);
  ~EngineObject() override;

 private:
  Napi::Value DeviceInfo(const Napi::CallbackInfo& info);
  Napi::Value LoadProgram(const Napi::CallbackInfo& info);
  Napi::Value AllocatedBytes(const Napi::CallbackInfo& info);

  EngineClasses& classes_;
  std::shared_ptr<EngineState> state_;
};

class ProgramObject final : public Napi::ObjectWrap<ProgramObject> {
 public:
  static Napi::FunctionReference Define(Napi::Env env);
  explicit ProgramObject(const Napi::CallbackInfo& info);

 private:
  Napi::Value Forward(const Napi::CallbackInfo& info);
  Napi::Value BeginAttack(const Napi::CallbackInfo& info);
  Napi::Value Dispose(const Napi::CallbackInfo& info);

  EngineClasses& classes_;
  std::shared_ptr<ProgramLease> lease_;
  std::shared_ptr<ProgramState> state_;
};

class AttackObject final : public Napi::ObjectWrap<AttackObject> {
 public:
  static Napi::FunctionReference Define(Napi::Env env);
  explicit AttackObject(const Napi::CallbackInfo& info);

 private:
  Napi::Value Start(const Napi::CallbackInfo& info);
  Napi::Value Steps(const Napi::CallbackInfo& info);
  Napi::Value Score(const Napi::CallbackInfo& info);
  Napi::Value Images(const Napi::CallbackInfo& info);
  Napi::Value Best(const Napi::CallbackInfo& info);
  Napi::Value Gradient(const Napi::CallbackInfo& info);
  Napi::Value Finished(const Napi::CallbackInfo& info);
  Napi::Value Dispose(const Napi::CallbackInfo& info);

  // Runs `work` on the attack, unless it is gone.
  Napi::Object Submit(Napi::Env env, std::function<Outcome(signstep_attack*, const std::int32_t*)> work, std::function<void()> give = {},
                      const std::vector<Napi::Value>& arrays = {}, std::function<Napi::Value(Napi::Env)> result = {});

  EngineClasses& classes_;
  std::shared_ptr<AttackLease> lease_;
  std::shared_ptr<AttackState> state_;
};

}  // namespace signstep
