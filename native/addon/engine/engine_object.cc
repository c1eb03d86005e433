#include <algorithm>
#include <cstring>
#include <string>
#include <system_error>
#include <vector>

#include "../arguments.h"
#include "engine_classes.h"

namespace signstep {
namespace {

Napi::Value Text(Napi::Env env, const char* text) { return Napi::String::New(env, text != nullptr ? text : ""); }

// The constructor of what needs a thread of its own.
template <class Body>
auto WithThread(Napi::Env env, Body body) {
  try {
    return body();
  } catch (const std::system_error& error) {
    throw Napi::Error::New(env, std::string("no thread could be started: ") + error.what());
  }
}

}  // namespace

EngineClasses::EngineClasses(Napi::Env env, const signstep_api& of)
    : api(of), jobs(env), engine(EngineObject::Define(env)), program(ProgramObject::Define(env)), attack(AttackObject::Define(env)) {}

Napi::Value EngineClasses::Open(const Napi::CallbackInfo& info) {
  const std::string name = info[0].ToString().Utf8Value();
  const auto thread = WithThread(info.Env(), EngineThread::Start);
  const auto opened = std::make_shared<std::shared_ptr<EngineState>>();
  // Loading a driver may take a second: not on the thread that serves events.
  EngineWork work{.work = [&api = api, thread, name, opened](const std::int32_t*) -> Outcome {
    const signstep_engine* found = api.engine(name.c_str());
    if (found == nullptr) {
      thread->Finish([] {});
      return {SIGNSTEP_UNSUPPORTED, api.last_error()};
    }
    const std::int32_t devices = found->device_count();
    *opened = std::make_shared<EngineState>(EngineState{*found, thread, devices, devices > 0 ? "" : found->last_error()});
    return {};
  }};
  jobs.Watch(thread, [] {});
  const auto make = [this, opened](Napi::Env env) -> Napi::Value { return Make(env, engine, *this, *opened); };
  return jobs.Submit(info.Env(), *thread, std::move(work), {}, make).Get("promise");
}

Napi::FunctionReference EngineObject::Define(Napi::Env env) {
  return Napi::Persistent(DefineClass(env, "Engine",
                                      {
                                          InstanceMethod("deviceInfo", &EngineObject::DeviceInfo),
                                          InstanceMethod("loadProgram", &EngineObject::LoadProgram),
                                          InstanceMethod("allocatedBytes", &EngineObject::AllocatedBytes),
                                      }));
}

EngineObject::EngineObject(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<EngineObject>(info), classes_(*Made<EngineState>(info).first), state_(Made<EngineState>(info).second) {
  Napi::Object self = info.This().As<Napi::Object>();
  self.Set("name", Text(info.Env(), state_->engine.name));
  self.Set("version", Text(info.Env(), state_->engine.version));
  self.Set("deviceCount", Napi::Number::New(info.Env(), state_->devices));
  self.Set("why", Napi::String::New(info.Env(), state_->why));
}

EngineObject::~EngineObject() {
  if (state_) state_->thread->Finish([] {});
}

// deviceInfo(device)
Napi::Value EngineObject::DeviceInfo(const Napi::CallbackInfo& info) {
  const std::uint32_t device = Unsigned(info[0], "device");
  const auto found = std::make_shared<signstep_device_info>();
  EngineWork work{.work = [state = state_, device, found](const std::int32_t*) {
    return Outcome::Of(state->engine, state->engine.device_info(static_cast<std::int32_t>(std::min(device, 0x7FFFFFFFu)), found.get()));
  }};
  const auto describe = [found](Napi::Env env) -> Napi::Value {
    const auto number = [env](auto value) { return Napi::Number::New(env, static_cast<double>(value)); };
    Napi::Object object = Napi::Object::New(env);
    object.Set("name", Napi::String::New(env, found->name, strnlen(found->name, sizeof found->name)));
    object.Set("computeCapability", number(found->compute_capability));
    object.Set("multiprocessors", number(found->multiprocessors));
    object.Set("memory", number(found->memory));
    object.Set("freeMemory", number(found->free_memory));
    object.Set("precisions", number(found->precisions));
    return object;
  };
  return classes_.jobs.Submit(info.Env(), *state_->thread, std::move(work), {}, describe).Get("promise");
}

// loadProgram(plan, device, batch, precision)
Napi::Value EngineObject::LoadProgram(const Napi::CallbackInfo& info) {
  const auto plan = Bytes(info[0], "plan");
  const std::uint32_t device = Unsigned(info[1], "device"), batch = Unsigned(info[2], "batch"), precision = Unsigned(info[3], "precision");
  const auto state = WithThread(info.Env(), [&] { return std::make_shared<ProgramState>(state_->engine); });
  const auto copy = std::make_shared<std::vector<std::uint8_t>>();
  EngineWork work{
      .take = [plan, copy] { copy->assign(plan.begin(), plan.end()); },
      .work = [state, copy, device, batch, precision](const std::int32_t*) {
        const signstep_load load = {.device = static_cast<std::int32_t>(std::min(device, 0x7FFFFFFFu)),
                                    .batch = batch,
                                    .precision = precision,
                                    .plan = copy->data(),
                                    .plan_bytes = copy->size()};
        Outcome outcome = Outcome::Of(state->engine, state->engine.program_load(&load, &state->program));
        if (outcome.status == SIGNSTEP_OK)
          outcome = Outcome::Of(state->engine, state->engine.program_info(state->program, &state->info));
        if (outcome.status != SIGNSTEP_OK) state->thread->Finish([state] { state->Free(); });
        return outcome;
      }};
  classes_.jobs.Watch(state->thread, [state] { state->Free(); });
  const auto make = [&classes = classes_, state](Napi::Env env) -> Napi::Value {
    return Make(env, classes.program, classes, std::make_shared<ProgramLease>(state));
  };
  return classes_.jobs.Submit(info.Env(), *state->thread, std::move(work), {info[0]}, make).Get("promise");
}

// allocatedBytes()
Napi::Value EngineObject::AllocatedBytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(state_->engine.allocated_bytes()));
}

}  // namespace signstep
