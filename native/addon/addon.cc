// Node's view of the C interface: the functions of src/native/binding.ts. Checks types and lengths, calls, throws what failed.
#include <napi.h>

#include <memory>

#include "arguments.h"
#include "engine/engine_classes.h"
#include "job_queue.h"
#include "signstep/signstep.h"

namespace signstep {
namespace {

constexpr napi_type_tag kApiTag = {SIGNSTEP_CAPI_TAG_LOWER, SIGNSTEP_CAPI_TAG_UPPER};

// One per environment: the main thread and every worker that loads the addon.
class SignstepAddon final : public Napi::Addon<SignstepAddon> {
 public:
  SignstepAddon(Napi::Env env, Napi::Object exports) : api_(*signstep_get_api(SIGNSTEP_ABI_VERSION)), jobs_(env, api_), engines_(env, api_) {
    auto capi = Napi::External<signstep_api>::New(env, const_cast<signstep_api*>(&api_));
    capi.TypeTag(&kApiTag);
    DefineAddon(exports, {
                             InstanceMethod("version", &SignstepAddon::Version, napi_enumerable),
                             InstanceMethod("instructionSet", &SignstepAddon::InstructionSet, napi_enumerable),
                             InstanceMethod("setInstructionSet", &SignstepAddon::SetInstructionSet, napi_enumerable),
                             InstanceMethod("threads", &SignstepAddon::Threads, napi_enumerable),
                             InstanceMethod("setThreads", &SignstepAddon::SetThreads, napi_enumerable),
                             InstanceMethod("startUniform", &SignstepAddon::StartUniform, napi_enumerable),
                             InstanceMethod("startL2", &SignstepAddon::StartL2, napi_enumerable),
                             InstanceMethod("stepLinf", &SignstepAddon::StepLinf, napi_enumerable),
                             InstanceMethod("stepL2", &SignstepAddon::StepL2, napi_enumerable),
                             InstanceMethod("stepMomentum", &SignstepAddon::StepMomentum, napi_enumerable),
                             InstanceMethod("stepLinfAsync", &SignstepAddon::StepLinfAsync, napi_enumerable),
                             InstanceMethod("distances", &SignstepAddon::Distances, napi_enumerable),
                             InstanceMethod("openEngine", &SignstepAddon::OpenEngine, napi_enumerable),
                             InstanceValue("capi", capi, napi_enumerable),
                         });
  }

 private:
  using Info = Napi::CallbackInfo;

  // A refused argument is a TypeError; memory or threads that ran out are not.
  void Check(Napi::Env env, signstep_status status) const {
    if (status == SIGNSTEP_OK) return;
    if (status == SIGNSTEP_INVALID || status == SIGNSTEP_UNSUPPORTED) throw Napi::TypeError::New(env, api_.last_error());
    throw Napi::Error::New(env, api_.last_error());
  }

  Napi::Value Version(const Info& info) { return Napi::String::New(info.Env(), api_.version()); }
  Napi::Value InstructionSet(const Info& info) { return Napi::String::New(info.Env(), api_.instruction_set()); }
  Napi::Value Threads(const Info& info) { return Napi::Number::New(info.Env(), api_.threads()); }

  // setInstructionSet(name)
  void SetInstructionSet(const Info& info) {
    Check(info.Env(), api_.set_instruction_set(info[0].ToString().Utf8Value().c_str()));
  }

  // setThreads(count)
  void SetThreads(const Info& info) { Check(info.Env(), api_.set_threads(Unsigned(info[0], "count"))); }

  // The arguments that startUniform and startL2 share: out, x0, eps, …, seed, sampleIndices, restart
  static signstep_start StartArguments(const Info& info) {
    const auto out = Floats(info[0], "out"), x0 = Floats(info[1], "x0"), eps = Floats(info[2], "eps");
    const auto indices = Ints(info[5], "sampleIndices");
    ExpectLength(info.Env(), "x0", x0.size(), out.size(), "out");
    ExpectLength(info.Env(), "sampleIndices", indices.size(), eps.size(), "eps");
    return {
        .count = eps.size(),
        .elements = ElementsPerSample(info.Env(), "out", out.size(), eps.size(), "eps"),
        .out = out.data(),
        .x0 = x0.data(),
        .eps = eps.data(),
        .sample_indices = indices.data(),
        .seed = Seed(info[4], "seed"),
        .restart = Unsigned(info[6], "restart"),
        .scale = 1,
        .sphere = 0,
        .cancel = nullptr,
    };
  }

  // startUniform(out, x0, eps, scale, seed, sampleIndices, restart)
  void StartUniform(const Info& info) {
    signstep_start start = StartArguments(info);
    start.scale = static_cast<float>(Number(info[3], "scale"));
    Check(info.Env(), api_.start_uniform(&start));
  }

  // startL2(out, x0, eps, sphere, seed, sampleIndices, restart)
  void StartL2(const Info& info) {
    signstep_start start = StartArguments(info);
    start.sphere = Boolean(info[3], "sphere") ? 1 : 0;
    Check(info.Env(), api_.start_l2(&start));
  }

  // The arguments that all steps begin with: x, x0, g. `at`: where alpha stands, then eps.
  static signstep_step StepArguments(const Info& info, std::size_t at) {
    const auto x = Floats(info[0], "x"), x0 = Floats(info[1], "x0"), g = Floats(info[2], "g");
    const auto alpha = Floats(info[at], "alpha"), eps = Floats(info[at + 1], "eps");
    ExpectLength(info.Env(), "x0", x0.size(), x.size(), "x");
    ExpectLength(info.Env(), "g", g.size(), x.size(), "x");
    ExpectLength(info.Env(), "alpha", alpha.size(), eps.size(), "eps");
    return {
        .count = eps.size(),
        .elements = ElementsPerSample(info.Env(), "x", x.size(), eps.size(), "eps"),
        .x = x.data(),
        .x0 = x0.data(),
        .gradient = g.data(),
        .momentum = nullptr,
        .alpha = alpha.data(),
        .eps = eps.data(),
        .decay = 0,
        .direction = 1,
        .nan_counts = nullptr,
        .zero_flags = nullptr,
        .cancel = nullptr,
    };
  }

  // …, direction, nan, zero, from argument `at` on
  static void ReportArguments(const Info& info, std::size_t at, signstep_step& step) {
    const auto nan = Ints(info[at + 1], "nan");
    const auto zero = Bytes(info[at + 2], "zero");
    ExpectLength(info.Env(), "nan", nan.size(), step.count, "eps");
    ExpectLength(info.Env(), "zero", zero.size(), step.count, "eps");
    step.direction = Direction(info[at], "direction");
    step.nan_counts = nan.data();
    step.zero_flags = zero.data();
  }

  // stepLinf(x, x0, g, alpha, eps, direction, nan, zero)
  void StepLinf(const Info& info) {
    signstep_step step = StepArguments(info, 3);
    ReportArguments(info, 5, step);
    Check(info.Env(), api_.step_linf(&step));
  }

  // stepL2(x, x0, g, alpha, eps, direction, nan, zero)
  void StepL2(const Info& info) {
    signstep_step step = StepArguments(info, 3);
    ReportArguments(info, 5, step);
    Check(info.Env(), api_.step_l2(&step));
  }

  // stepMomentum(x, x0, g, momentum, alpha, eps, decay, direction, nan, zero)
  void StepMomentum(const Info& info) {
    signstep_step step = StepArguments(info, 4);
    const auto momentum = Floats(info[3], "momentum");
    ExpectLength(info.Env(), "momentum", momentum.size(), step.count * step.elements, "x");
    step.momentum = momentum.data();
    step.decay = static_cast<float>(Number(info[6], "decay"));
    ReportArguments(info, 7, step);
    Check(info.Env(), api_.step_momentum(&step));
  }

  // stepLinfAsync(x, x0, g, alpha, eps, direction) → { promise, cancel() }
  Napi::Value StepLinfAsync(const Info& info) {
    signstep_step step = StepArguments(info, 3);
    step.direction = Direction(info[5], "direction");
    return jobs_.Submit(info.Env(), SIGNSTEP_RULE_LINF, step, {info[0], info[1], info[2]});
  }

  // distances(a, b, linf, l2)
  void Distances(const Info& info) {
    const auto a = Floats(info[0], "a"), b = Floats(info[1], "b"), linf = Floats(info[2], "linf"), l2 = Floats(info[3], "l2");
    ExpectLength(info.Env(), "b", b.size(), a.size(), "a");
    ExpectLength(info.Env(), "l2", l2.size(), linf.size(), "linf");
    const std::size_t elements = ElementsPerSample(info.Env(), "a", a.size(), linf.size(), "linf");
    Check(info.Env(), api_.distances(linf.size(), elements, a.data(), b.data(), linf.data(), l2.data()));
  }

  // openEngine(name)
  Napi::Value OpenEngine(const Info& info) { return engines_.Open(info); }

  const signstep_api& api_;
  JobQueue jobs_;
  EngineClasses engines_;
};

}  // namespace
}  // namespace signstep

using signstep::SignstepAddon;
NODE_API_NAMED_ADDON(signstep, SignstepAddon)
