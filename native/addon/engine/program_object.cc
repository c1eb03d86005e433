#include <string>
#include <vector>

#include "../arguments.h"
#include "engine_classes.h"
#include "output_array.h"

namespace signstep {

Napi::FunctionReference ProgramObject::Define(Napi::Env env) {
  return Napi::Persistent(DefineClass(env, "Program",
                                      {
                                          InstanceMethod("forward", &ProgramObject::Forward),
                                          InstanceMethod("beginAttack", &ProgramObject::BeginAttack),
                                          InstanceMethod("dispose", &ProgramObject::Dispose),
                                      }));
}

ProgramObject::ProgramObject(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<ProgramObject>(info),
      classes_(*Made<ProgramLease>(info).first),
      lease_(Made<ProgramLease>(info).second),
      state_(lease_->state) {
  const signstep_program_info& loaded = state_->info;
  const auto number = [&](auto value) { return Napi::Number::New(info.Env(), static_cast<double>(value)); };
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("channels", number(loaded.channels));
  object.Set("height", number(loaded.height));
  object.Set("width", number(loaded.width));
  object.Set("classes", number(loaded.classes));
  object.Set("batch", number(loaded.batch));
  object.Set("precision", number(loaded.precision));
  object.Set("targeted", Napi::Boolean::New(info.Env(), loaded.targeted != 0));
  object.Set("deviceBytes", number(loaded.device_bytes));
  info.This().As<Napi::Object>().Set("info", object);
}

// forward(images) → { promise, cancel() }
Napi::Value ProgramObject::Forward(const Napi::CallbackInfo& info) {
  const auto images = Floats(info[0], "images");
  const std::size_t count = images.size() / state_->pixels();
  if (images.empty() || images.size() % state_->pixels() != 0 || count > state_->info.batch)
    throw Napi::TypeError::New(info.Env(), "images: expected 1 to " + std::to_string(state_->info.batch) + " images of " +
                                               std::to_string(state_->pixels()) + " floats, found " + std::to_string(images.size()));
  const OutputArray<float, Napi::Float32Array> logits(info.Env(), count * state_->info.classes);
  const auto copy = std::make_shared<std::vector<float>>();
  EngineWork work{.take = [images, copy] { copy->assign(images.begin(), images.end()); },
                  .work = [state = state_, copy, count, out = logits.copy()](const std::int32_t*) {
                    return Outcome::Of(state->engine, state->engine.forward(state->program, static_cast<std::uint32_t>(count), copy->data(),
                                                                            out->data()));
                  },
                  .give = [out = logits.copy()] { out->give(); }};
  return classes_.jobs.Submit(info.Env(), *state_->thread, std::move(work), {info[0]}, [logits](Napi::Env) { return logits.Value(); });
}

// beginAttack(images, labels, targets | undefined, sampleIndices, seed, referenceLogits | undefined): beside the work under way
Napi::Value ProgramObject::BeginAttack(const Napi::CallbackInfo& info) {
  struct Batch {
    std::vector<float> images, reference;
    std::vector<std::int32_t> labels, targets, indices;
    std::uint64_t seed;
  };
  const Napi::Env env = info.Env();
  const auto images = Floats(info[0], "images");
  const auto labels = Ints(info[1], "labels"), indices = Ints(info[3], "sampleIndices");
  const bool targeted = !info[2].IsUndefined();
  if (targeted != (state_->info.targeted != 0))
    throw Napi::TypeError::New(env, state_->info.targeted != 0 ? "targets: expected an Int32Array, for a targeted loss; found undefined"
                                                               : "targets: expected undefined, the loss is not targeted; found an array");
  const bool compares = !info[5].IsUndefined();
  if (compares != (state_->info.loss == SIGNSTEP_KL))
    throw Napi::TypeError::New(env, compares ? "referenceLogits: expected undefined, the loss is not KL; found an array"
                                             : "referenceLogits: expected a Float32Array, for the KL loss; found undefined");
  if (labels.empty() || labels.size() > state_->info.batch)
    throw Napi::TypeError::New(env, "labels: expected 1 to " + std::to_string(state_->info.batch) + ", found " + std::to_string(labels.size()));
  ExpectLength(env, "images", images.size(), labels.size() * state_->pixels(), "labels times pixels");
  ExpectLength(env, "sampleIndices", indices.size(), labels.size(), "labels");
  const auto batch = std::make_shared<Batch>();
  batch->labels.assign(labels.begin(), labels.end());
  batch->indices.assign(indices.begin(), indices.end());
  batch->seed = Seed(info[4], "seed");
  if (targeted) {
    const auto targets = Ints(info[2], "targets");
    ExpectLength(env, "targets", targets.size(), labels.size(), "labels");
    batch->targets.assign(targets.begin(), targets.end());
  }
  if (compares) {
    const auto reference = Floats(info[5], "referenceLogits");
    ExpectLength(env, "referenceLogits", reference.size(), labels.size() * state_->info.classes, "labels times classes");
    batch->reference.assign(reference.begin(), reference.end());
  }
  const auto attack = std::make_shared<AttackState>(state_, static_cast<std::uint32_t>(labels.size()));
  EngineWork work{.take = [images, batch] { batch->images.assign(images.begin(), images.end()); },
                  .work = [attack, batch](const std::int32_t*) {
                    ProgramState& on = *attack->program;
                    const signstep_images under = {.count = attack->count,
                                                   .images = batch->images.data(),
                                                   .labels = batch->labels.data(),
                                                   .targets = batch->targets.empty() ? nullptr : batch->targets.data(),
                                                   .sample_indices = batch->indices.data(),
                                                   .seed = batch->seed,
                                                   .reference_logits = batch->reference.empty() ? nullptr : batch->reference.data()};
                    const Outcome outcome = Outcome::Of(on.engine, on.engine.attack_begin(on.program, &under, &attack->attack));
                    if (outcome.status == SIGNSTEP_OK) on.Add(attack->attack);
                    return outcome;
                  }};
  const auto make = [&classes = classes_, attack, lease = lease_](Napi::Env home) -> Napi::Value {
    return Make(home, classes.attack, classes, std::make_shared<AttackLease>(attack, lease));
  };
  return classes_.jobs.Submit(env, *state_->uploads, std::move(work), {info[0]}, make).Get("promise");
}

// dispose(): after the work under way; the attacks on it end too
Napi::Value ProgramObject::Dispose(const Napi::CallbackInfo& info) {
  const Napi::Object freed = classes_.jobs.Submit(info.Env(), *state_->thread, {.work = [state = state_](const std::int32_t*) {
                                                    state->Free();
                                                    return Outcome{};
                                                  }}, {});
  // Once more, in case the environment closes before: the first Finish counts.
  state_->thread->Finish([state = state_] { state->Free(); });
  return freed.Get("promise");
}

}  // namespace signstep
