#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "../arguments.h"
#include "engine_classes.h"
#include "output_array.h"

namespace signstep {
namespace {

using FloatOutput = OutputArray<float, Napi::Float32Array>;
using IntOutput = OutputArray<std::int32_t, Napi::Int32Array>;
using ByteOutput = OutputArray<std::uint8_t, Napi::Uint8Array>;

std::vector<float> PerImage(const Napi::CallbackInfo& info, std::size_t at, const char* name, std::size_t count) {
  const auto values = Floats(info[at], name);
  ExpectLength(info.Env(), name, values.size(), count, "images under attack");
  return {values.begin(), values.end()};
}

}  // namespace

Napi::FunctionReference AttackObject::Define(Napi::Env env) {
  return Napi::Persistent(DefineClass(env, "Attack",
                                      {
                                          InstanceMethod("start", &AttackObject::Start),
                                          InstanceMethod("steps", &AttackObject::Steps),
                                          InstanceMethod("score", &AttackObject::Score),
                                          InstanceMethod("images", &AttackObject::Images),
                                          InstanceMethod("best", &AttackObject::Best),
                                          InstanceMethod("gradient", &AttackObject::Gradient),
                                          InstanceMethod("finished", &AttackObject::Finished),
                                          InstanceMethod("dispose", &AttackObject::Dispose),
                                      }));
}

AttackObject::AttackObject(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<AttackObject>(info),
      classes_(*Made<AttackLease>(info).first),
      lease_(Made<AttackLease>(info).second),
      state_(lease_->state) {}

Napi::Object AttackObject::Submit(Napi::Env env, std::function<Outcome(signstep_attack*, const std::int32_t*)> work,
                                  std::function<void()> give, const std::vector<Napi::Value>& arrays,
                                  std::function<Napi::Value(Napi::Env)> result) {
  if (state_->disposed) throw Napi::Error::New(env, "the attack has been disposed of");
  if (!state_->retiring.expired()) throw Napi::Error::New(env, "samples are retiring: wait for the steps under way");
  EngineWork whole{.work = [state = state_, run = std::move(work)](const std::int32_t* cancel) -> Outcome {
                     if (state->attack == nullptr) return {SIGNSTEP_INVALID, "the attack has ended"};
                     return run(state->attack, cancel);
                   },
                   .give = std::move(give)};
  return classes_.jobs.Submit(env, *state_->program->thread, std::move(whole), arrays, std::move(result));
}

// start(kind, eps, scale, restart)
Napi::Value AttackObject::Start(const Napi::CallbackInfo& info) {
  const std::uint32_t kind = Unsigned(info[0], "kind"), restart = Unsigned(info[3], "restart");
  const auto scale = static_cast<float>(Number(info[2], "scale"));
  auto eps = PerImage(info, 1, "eps", state_->count);
  const signstep_engine& engine = state_->program->engine;
  return Submit(info.Env(), [&engine, kind, restart, scale, eps = std::move(eps)](signstep_attack* attack, const std::int32_t*) {
    const signstep_start_rule rule = {.kind = kind, .restart = restart, .scale = scale, .eps = eps.data()};
    return Outcome::Of(engine, engine.attack_start(attack, &rule));
  }).Get("promise");
}

// steps(rule, alpha, eps | undefined, decay, direction, steps, retire, remember) → { promise, cancel() }
// of { loss, predictions, nanGradients, zeroGradients }, each [steps, count], and left [steps]
Napi::Value AttackObject::Steps(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::uint32_t count = state_->count;
  signstep_step_rule rule{};
  rule.rule = Unsigned(info[0], "rule");
  auto alpha = PerImage(info, 1, "alpha", count);
  auto eps = info[2].IsUndefined() ? std::vector<float>() : PerImage(info, 2, "eps", count);
  rule.decay = static_cast<float>(Number(info[3], "decay"));
  rule.direction = Direction(info[4], "direction");
  const std::uint32_t steps = Unsigned(info[5], "steps");
  rule.retire = Boolean(info[6], "retire") ? 1 : 0;
  rule.remember = Boolean(info[7], "remember") ? 1 : 0;
  constexpr std::uint32_t kMostSteps = 1u << 20;  // of one call: what it tells takes 13 bytes an image and step
  if (steps < 1 || steps > kMostSteps) throw Napi::TypeError::New(env, "steps: expected 1 to 2^20, found " + std::to_string(steps));
  const std::size_t length = std::size_t{steps} * count;
  const FloatOutput loss(env, length);
  const IntOutput predictions(env, length), nan(env, length), left(env, steps);
  const ByteOutput zero(env, length);
  const auto token = std::make_shared<char>();  // let go of with the work, however it ends
  const Napi::Object handle = Submit(
      env,
      [state = state_, rule, steps, token, alpha = std::move(alpha), eps = std::move(eps), loss = loss.copy(),
       predictions = predictions.copy(), nan = nan.copy(), zero = zero.copy(),
       left = left.copy()](signstep_attack* attack, const std::int32_t* cancel) {
        signstep_step_rule whole = rule;
        whole.alpha = alpha.data();
        whole.eps = eps.empty() ? nullptr : eps.data();
        std::vector<std::uint32_t> counts(steps);
        signstep_step_results results = {.loss = loss->zeros(),
                                         .predictions = predictions->zeros(),
                                         .nan_gradients = nan->zeros(),
                                         .zero_gradients = zero->zeros(),
                                         .left = counts.data()};
        const signstep_engine& engine = state->program->engine;
        const Outcome outcome = Outcome::Of(engine, engine.attack_steps(attack, &whole, steps, &results, cancel));
        std::copy(counts.begin(), counts.end(), left->data());
        if (rule.retire == 0) return outcome;
        // Who is left after half the steps nobody was told.
        if (outcome.status == SIGNSTEP_OK)
          state->count = counts.back();
        else
          state->Free();
        return outcome;
      },
      [loss = loss.copy(), predictions = predictions.copy(), nan = nan.copy(), zero = zero.copy(), left = left.copy()] {
        loss->give();
        predictions->give();
        nan->give();
        zero->give();
        left->give();
      },
      {},
      [loss, predictions, nan, zero, left](Napi::Env home) -> Napi::Value {
        Napi::Object found = Napi::Object::New(home);
        found.Set("loss", loss.Value());
        found.Set("predictions", predictions.Value());
        found.Set("nanGradients", nan.Value());
        found.Set("zeroGradients", zero.Value());
        found.Set("left", left.Value());
        return found;
      });
  if (rule.retire != 0) state_->retiring = token;
  return handle;
}

// score() → { promise, cancel() } of { loss, predictions, logits }
Napi::Value AttackObject::Score(const Napi::CallbackInfo& info) {
  const std::size_t count = state_->count;
  const FloatOutput loss(info.Env(), count), logits(info.Env(), count * state_->program->info.classes);
  const IntOutput predictions(info.Env(), count);
  const signstep_engine& engine = state_->program->engine;
  return Submit(
      info.Env(),
      [&engine, loss = loss.copy(), predictions = predictions.copy(), logits = logits.copy()](signstep_attack* attack, const std::int32_t*) {
        return Outcome::Of(engine, engine.attack_score(attack, loss->data(), predictions->data(), logits->data()));
      },
      [loss = loss.copy(), predictions = predictions.copy(), logits = logits.copy()] {
        loss->give();
        predictions->give();
        logits->give();
      },
      {},
      [loss, predictions, logits](Napi::Env home) -> Napi::Value {
        Napi::Object found = Napi::Object::New(home);
        found.Set("loss", loss.Value());
        found.Set("predictions", predictions.Value());
        found.Set("logits", logits.Value());
        return found;
      });
}

// The positions that an argument names, each below `count`.
static std::vector<std::int32_t> Positions(const Napi::Value& value, const char* name, std::uint32_t count) {
  const auto found = Ints(value, name);
  if (found.size() > count)
    throw Napi::TypeError::New(value.Env(), std::string(name) + ": expected at most " + std::to_string(count) + ", found " + std::to_string(found.size()));
  for (std::size_t i = 0; i < found.size(); ++i)
    if (found[i] < 0 || static_cast<std::uint32_t>(found[i]) >= count)
      throw Napi::TypeError::New(value.Env(), std::string(name) + ": expected positions below " + std::to_string(count) + ", found " +
                                                  std::to_string(found[i]) + " at " + std::to_string(i));
  return {found.begin(), found.end()};
}

// images(rows | undefined)
Napi::Value AttackObject::Images(const Napi::CallbackInfo& info) {
  const bool all = info[0].IsUndefined();
  auto rows = all ? std::vector<std::int32_t>() : Positions(info[0], "rows", state_->count);
  const std::size_t count = all ? state_->count.load() : rows.size();
  const FloatOutput images(info.Env(), count * state_->program->pixels());
  const signstep_engine& engine = state_->program->engine;
  return Submit(
      info.Env(),
      [&engine, all, count, rows = std::move(rows), images = images.copy()](signstep_attack* attack, const std::int32_t*) {
        float* out = images->data();
        if (count == 0) return Outcome{};
        return Outcome::Of(engine, engine.attack_images(attack, all ? nullptr : rows.data(), static_cast<std::uint32_t>(count), out));
      },
      [images = images.copy()] { images->give(); }, {}, [images](Napi::Env) { return images.Value(); }).Get("promise");
}

// best() → { images, loss }
Napi::Value AttackObject::Best(const Napi::CallbackInfo& info) {
  const FloatOutput images(info.Env(), state_->count * state_->program->pixels()), loss(info.Env(), state_->count);
  const signstep_engine& engine = state_->program->engine;
  return Submit(
      info.Env(),
      [&engine, images = images.copy(), loss = loss.copy()](signstep_attack* attack, const std::int32_t*) {
        return Outcome::Of(engine, engine.attack_best(attack, images->data(), loss->data()));
      },
      [images = images.copy(), loss = loss.copy()] {
        images->give();
        loss->give();
      },
      {},
      [images, loss](Napi::Env home) -> Napi::Value {
        Napi::Object found = Napi::Object::New(home);
        found.Set("images", images.Value());
        found.Set("loss", loss.Value());
        return found;
      }).Get("promise");
}

// gradient() → { promise, cancel() }
Napi::Value AttackObject::Gradient(const Napi::CallbackInfo& info) {
  const FloatOutput gradient(info.Env(), state_->count * state_->program->pixels());
  const signstep_engine& engine = state_->program->engine;
  return Submit(
      info.Env(),
      [&engine, gradient = gradient.copy()](signstep_attack* attack, const std::int32_t*) {
        return Outcome::Of(engine, engine.attack_gradient(attack, gradient->data()));
      },
      [gradient = gradient.copy()] { gradient->give(); }, {}, [gradient](Napi::Env) { return gradient.Value(); });
}

// finished(positions): where these samples of the batch as it was begun were finished
Napi::Value AttackObject::Finished(const Napi::CallbackInfo& info) {
  auto positions = Positions(info[0], "positions", state_->begun);
  const FloatOutput images(info.Env(), positions.size() * state_->program->pixels());
  const signstep_engine& engine = state_->program->engine;
  return Submit(
      info.Env(),
      [&engine, positions = std::move(positions), images = images.copy()](signstep_attack* attack, const std::int32_t*) {
        float* out = images->data();
        if (positions.empty()) return Outcome{};
        return Outcome::Of(engine, engine.attack_finished(attack, positions.data(), static_cast<std::uint32_t>(positions.size()), out));
      },
      [images = images.copy()] { images->give(); }, {}, [images](Napi::Env) { return images.Value(); }).Get("promise");
}

// dispose()
Napi::Value AttackObject::Dispose(const Napi::CallbackInfo& info) {
  const Napi::Object handle = classes_.jobs.Submit(info.Env(), *state_->program->thread, {.work = [state = state_](const std::int32_t*) {
                                                     state->Free();
                                                     return Outcome{};
                                                   }}, {});
  state_->disposed = true;
  return handle.Get("promise");
}

}  // namespace signstep
