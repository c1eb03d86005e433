// The table of engine.h: arguments in, status out; nothing thrown crosses.
#include <cstring>
#include <memory>
#include <new>
#include <string>

#include "../../include/signstep/engine.h"
#include "attack.h"
#include "loaded_program.h"
#include "lost_devices.h"

struct signstep_program {
  signstep::engine::LoadedProgram loaded;
};
struct signstep_attack {
  signstep::engine::Attack attack;
};

namespace signstep::engine {
namespace {

thread_local std::string last_error;

signstep_status status_of(rt::Failure::Kind kind) {
  switch (kind) {
    case rt::Failure::Kind::invalid: return SIGNSTEP_INVALID;
    case rt::Failure::Kind::unavailable: return SIGNSTEP_UNSUPPORTED;
    case rt::Failure::Kind::out_of_memory:
    case rt::Failure::Kind::launch:
    case rt::Failure::Kind::lost:
    case rt::Failure::Kind::internal: break;
  }
  return SIGNSTEP_INTERNAL;
}

// A kernel's failure is told by whatever waits for it next: how to have it told by itself.
std::string with_cure(const rt::Failure& failure) {
  const bool lost = failure.kind == rt::Failure::Kind::lost;
  return lost && !rt::launches_are_waited_for()
             ? failure.message + "; with CUDA_LAUNCH_BLOCKING=1 in the environment the kernel and its step of the program are named"
             : failure.message;
}

// `body` works on the device, which must not have been lost before.
template <class Body>
signstep_status guarded(int device, Body&& body) {
  try {
    refuse_lost_device(device);
    return body();
  } catch (const rt::Failure& failure) {
    last_error = with_cure(failure);
    if (failure.kind == rt::Failure::Kind::lost) lose_device(device, failure.message);
    return status_of(failure.kind);
  } catch (const program::PlanError& error) {
    last_error = error.message;
    return SIGNSTEP_INVALID;
  } catch (const std::bad_alloc&) {
    last_error = "out of host memory";
  } catch (const std::exception& error) {
    last_error = error.what();
  }
  return SIGNSTEP_INTERNAL;
}

signstep_status refused(const char* message) {
  last_error = message;
  return SIGNSTEP_INVALID;
}

signstep_status done(int device, const auto& body) {
  return guarded(device, [&] {
    body();
    return SIGNSTEP_OK;
  });
}

std::int32_t device_count() {
  const int count = rt::device_count();
  if (count == 0) last_error = rt::why();
  return count;
}

std::uint32_t precisions_of([[maybe_unused]] const rt::DeviceInfo& info) {
#if defined(SIGNSTEP_CPU)
  return 1u << SIGNSTEP_BF16;
#else
  return 1u << SIGNSTEP_BF16 | 1u << SIGNSTEP_FP16 | 1u << SIGNSTEP_FLOAT32 | (kernels::has_e4m3(info.compute_capability) ? 1u << SIGNSTEP_FP8 : 0);
#endif
}

signstep_status device_info(std::int32_t device, signstep_device_info* out) {
  if (out == nullptr) return refused("info: expected a pointer");
  return done(device, [&] {
    const rt::DeviceInfo info = rt::device_info(device);
    std::memset(out, 0, sizeof *out);
    static_assert(sizeof out->name == sizeof info.name);
    std::memcpy(out->name, info.name, sizeof info.name);
    out->compute_capability = info.compute_capability;
    out->multiprocessors = info.multiprocessors;
    out->memory = info.memory;
    out->free_memory = info.free_memory;
    out->precisions = precisions_of(info);
  });
}

#if !defined(SIGNSTEP_CPU)
constexpr std::uint32_t kLowestCapability = 80;  // bf16 products, cp.async

void check_capability(int device) {
  const rt::DeviceInfo info = rt::device_info(device);
  if (info.compute_capability >= kLowestCapability) return;
  const auto text = [](std::uint32_t capability) { return std::to_string(capability / 10) + "." + std::to_string(capability % 10); };
  throw rt::Failure{rt::Failure::Kind::unavailable, "device " + std::to_string(device) + " (" + info.name + "): expected compute capability " +
                                                        text(kLowestCapability) + " or later, found " + text(info.compute_capability)};
}
#else
void check_capability(int) {}
#endif

signstep_status program_load(const signstep_load* load, signstep_program** out) {
  if (load == nullptr || load->plan == nullptr || out == nullptr) return refused("load, plan and program: expected pointers");
  if (load->precision > SIGNSTEP_FP8) return refused("precision: expected a signstep_precision");
  *out = nullptr;
  return done(load->device, [&] {
    if (load->device < 0 || load->device >= rt::device_count())
      throw rt::Failure{rt::Failure::Kind::unavailable,
                        "device " + std::to_string(load->device) + ": found " + std::to_string(rt::device_count()) +
                            (rt::device_count() == 0 ? " (" + rt::why() + ")" : " devices")};
    check_capability(load->device);
    const bool e4m3 = load->precision == SIGNSTEP_FP8;
    const auto values = e4m3 ? kernels::Precision::bf16 : static_cast<kernels::Precision>(load->precision);
    *out = new signstep_program{{load->device, load->batch, values, e4m3, load->plan, load->plan_bytes}};
  });
}

signstep_status program_info(const signstep_program* program, signstep_program_info* out) {
  if (program == nullptr || out == nullptr) return refused("program and info: expected pointers");
  const LoadedProgram& loaded = program->loaded;
  const program::Header& header = loaded.header();
  *out = {header.channels, header.height, header.width, header.classes, static_cast<std::uint32_t>(loaded.batch()),
          static_cast<std::uint32_t>(loaded.e4m3() ? SIGNSTEP_FP8 : static_cast<signstep_precision>(loaded.precision())), header.targeted, static_cast<std::uint32_t>(header.loss), loaded.bytes()};
  return SIGNSTEP_OK;
}

void program_free(signstep_program* program) { delete program; }

signstep_status run_forward(signstep_program* program, std::uint32_t count, const float* images, float* logits) {
  if (program == nullptr || images == nullptr || logits == nullptr) return refused("program, images and logits: expected pointers");
  return done(program->loaded.device(), [&] {
    rt::use_device(program->loaded.device());
    program->loaded.forward().logits(count, images, logits, program->loaded.stream());
  });
}

signstep_status attack_begin(signstep_program* program, const signstep_images* images, signstep_attack** out) {
  if (program == nullptr || images == nullptr || out == nullptr) return refused("program, images and attack: expected pointers");
  *out = nullptr;
  return done(program->loaded.device(), [&] { *out = new signstep_attack{{program->loaded, *images}}; });
}

signstep_status attack_start(signstep_attack* attack, const signstep_start_rule* rule) {
  if (attack == nullptr || rule == nullptr) return refused("attack and rule: expected pointers");
  return done(attack->attack.device(), [&] { attack->attack.start(*rule); });
}

signstep_status attack_steps(signstep_attack* attack, const signstep_step_rule* rule, std::uint32_t steps, signstep_step_results* results,
                             const volatile std::int32_t* cancel) {
  if (attack == nullptr || rule == nullptr) return refused("attack and rule: expected pointers");
  return guarded(attack->attack.device(), [&] {
    if (attack->attack.steps(*rule, steps, results, cancel)) return SIGNSTEP_OK;
    last_error = "cancelled";
    return SIGNSTEP_CANCELLED;
  });
}

signstep_status attack_score(signstep_attack* attack, float* loss, std::int32_t* predictions, float* logits) {
  if (attack == nullptr) return refused("attack: expected a pointer");
  return done(attack->attack.device(), [&] { attack->attack.score(loss, predictions, logits); });
}

signstep_status attack_images(signstep_attack* attack, const std::int32_t* rows, std::uint32_t count, float* images) {
  if (attack == nullptr || images == nullptr) return refused("attack and images: expected pointers");
  return done(attack->attack.device(), [&] { attack->attack.images(rows, count, images); });
}

signstep_status attack_best(signstep_attack* attack, float* images, float* loss) {
  if (attack == nullptr) return refused("attack: expected a pointer");
  return done(attack->attack.device(), [&] { attack->attack.best(images, loss); });
}

signstep_status attack_gradient(signstep_attack* attack, float* gradient) {
  if (attack == nullptr || gradient == nullptr) return refused("attack and gradient: expected pointers");
  return done(attack->attack.device(), [&] { attack->attack.gradient(gradient); });
}

signstep_status attack_finished(signstep_attack* attack, const std::int32_t* positions, std::uint32_t count, float* images) {
  if (attack == nullptr || (count > 0 && (positions == nullptr || images == nullptr))) return refused("attack, positions and images: expected pointers");
  return done(attack->attack.device(), [&] { attack->attack.finished(positions, count, images); });
}

void attack_free(signstep_attack* attack) { delete attack; }

#if defined(SIGNSTEP_SIM)
constexpr const char* kName = "sim";
#elif defined(SIGNSTEP_CPU)
constexpr const char* kName = "cpu";
#else
constexpr const char* kName = "cuda";
#endif

constexpr signstep_engine kEngine = {
    .struct_size = sizeof(signstep_engine),
    .abi_version = SIGNSTEP_ENGINE_ABI_VERSION,
    .name = kName,
    .version = SIGNSTEP_VERSION,
    .last_error = [] { return last_error.c_str(); },
    .device_count = device_count,
    .device_info = device_info,
    .program_load = program_load,
    .program_info = program_info,
    .program_free = program_free,
    .forward = run_forward,
    .attack_begin = attack_begin,
    .attack_start = attack_start,
    .attack_steps = attack_steps,
    .attack_score = attack_score,
    .attack_images = attack_images,
    .attack_best = attack_best,
    .attack_gradient = attack_gradient,
    .attack_finished = attack_finished,
    .attack_free = attack_free,
    .allocated_bytes = rt::allocated_bytes,
};

}  // namespace
}  // namespace signstep::engine

extern "C" SIGNSTEP_EXPORT const signstep_engine* signstep_plugin_engine(std::uint32_t abi_version) {
  return abi_version == SIGNSTEP_ENGINE_ABI_VERSION ? &signstep::engine::kEngine : nullptr;
}
