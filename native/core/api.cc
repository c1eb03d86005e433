// The function table: checks arguments, turns exceptions into statuses, and hands on.
#include <exception>
#include <memory>
#include <string_view>
#include <vector>

#include "arguments.h"
#include "instruction_sets/instruction_sets.h"
#include "last_error.h"
#include "parallel/job_thread.h"
#include "parallel/thread_pool.h"
#include "philox.h"
#include "plugin_loader.h"
#include "steps/steps.h"

struct signstep_job {
  std::shared_ptr<signstep::Job> job;
};

namespace signstep {
namespace {

// No exception may cross the C interface; memory and threads are all that can run out.
template <class Body>
signstep_status guarded(Body body) {
  try {
    return body();
  } catch (const std::exception& error) {
    return fail(SIGNSTEP_INTERNAL, "%s", error.what());
  }
}

signstep_status finished(bool to_the_end) {
  return to_the_end ? SIGNSTEP_OK : fail(SIGNSTEP_CANCELLED, "the work was cancelled");
}

template <bool (*Operation)(const signstep_start&)>
signstep_status start(const signstep_start* arguments) {
  if (const auto status = check(arguments)) return status;
  return guarded([&] { return finished(Operation(*arguments)); });
}

template <signstep_rule Rule, bool (*Operation)(const signstep_step&)>
signstep_status step(const signstep_step* arguments) {
  if (const auto status = check(arguments, Rule)) return status;
  return guarded([&] { return finished(Operation(*arguments)); });
}

constexpr auto kStepLinf = step<SIGNSTEP_RULE_LINF, step_linf>;
constexpr auto kStepL2 = step<SIGNSTEP_RULE_L2, step_l2>;
constexpr auto kStepMomentum = step<SIGNSTEP_RULE_MOMENTUM, step_momentum>;

signstep_status measure(std::size_t count, std::size_t elements, const float* a, const float* b, float* linf, float* l2) {
  if (const auto status = check_size(count, elements)) return status;
  if (count != 0 && elements != 0 && (a == nullptr || b == nullptr))
    return fail(SIGNSTEP_INVALID, "a and b: expected arrays, found NULL");
  return guarded([&] {
    distances(count, elements, a, b, linf, l2);
    return SIGNSTEP_OK;
  });
}

void philox_block(const std::uint32_t counter[4], const std::uint32_t key[2], std::uint32_t block[4]) {
  const PhiloxBlock result = philox4x32_10({{counter[0], counter[1], counter[2], counter[3]}}, key[0], key[1]);
  for (int i = 0; i < 4; ++i) block[i] = result.word[i];
}

signstep_status set_instruction_set(const char* name) {
  if (name == nullptr) return fail(SIGNSTEP_INVALID, "name: expected text, found NULL");
  if (choose_instruction_set(name)) return SIGNSTEP_OK;
  return fail(SIGNSTEP_UNSUPPORTED, "instruction set '%.32s': this processor or this build does not have it", name);
}

signstep_status set_threads(std::uint32_t count) {
  constexpr std::uint32_t kMost = 1024;
  if (count < 1 || count > kMost) return fail(SIGNSTEP_INVALID, "threads: expected 1 to %u, found %u", kMost, count);
  ThreadPool::instance().set_threads(count);
  return SIGNSTEP_OK;
}

signstep_status job_submit(std::int32_t rule, const signstep_step* arguments, signstep_job_done done, void* user, signstep_job** job) {
  signstep_status (*operation)(const signstep_step*) = nullptr;
  switch (rule) {
    case SIGNSTEP_RULE_LINF: operation = kStepLinf; break;
    case SIGNSTEP_RULE_L2: operation = kStepL2; break;
    case SIGNSTEP_RULE_MOMENTUM: operation = kStepMomentum; break;
  }
  if (operation == nullptr) return fail(SIGNSTEP_INVALID, "rule: expected a signstep_rule, found %d", rule);
  if (done == nullptr || job == nullptr) return fail(SIGNSTEP_INVALID, "done and job: expected pointers, found NULL");
  if (const auto status = check(arguments, static_cast<signstep_rule>(rule))) return status;
  return guarded([&] {
    auto work = [operation, step = *arguments, alpha = std::vector(arguments->alpha, arguments->alpha + arguments->count),
                 eps = std::vector(arguments->eps, arguments->eps + arguments->count)](const std::int32_t* cancel) mutable {
      step.alpha = alpha.data();
      step.eps = eps.data();
      step.cancel = cancel;
      return operation(&step);
    };
    auto handle = std::make_unique<signstep_job>();
    handle->job = std::make_shared<Job>();
    handle->job->work = std::move(work);
    handle->job->done = [done, user](signstep_status status) { done(user, status, status == SIGNSTEP_OK ? "" : last_error()); };
    JobThread::instance().submit(handle->job);
    *job = handle.release();
    return SIGNSTEP_OK;
  });
}

const signstep_engine* engine(const char* name) {
  if (name == nullptr) return fail(SIGNSTEP_INVALID, "name: expected text, found NULL"), nullptr;
  try {
    return load_plugin(name);
  } catch (const std::exception& error) {
    return fail(SIGNSTEP_INTERNAL, "plugin %.32s: %s", name, error.what()), nullptr;
  }
}

void job_cancel(signstep_job* job) { __atomic_store_n(&job->job->cancel, 1, __ATOMIC_RELAXED); }

void job_wait(signstep_job* job) { JobThread::instance().wait(*job->job); }

void job_release(signstep_job* job) { delete job; }

constexpr signstep_api kApi = {
    .struct_size = sizeof(signstep_api),
    .abi_version = SIGNSTEP_ABI_VERSION,
    .version = [] { return SIGNSTEP_VERSION; },
    .last_error = last_error,
    .instruction_set = [] { return kernels().name; },
    .set_instruction_set = set_instruction_set,
    .threads = [] { return ThreadPool::instance().threads(); },
    .set_threads = set_threads,
    .philox4x32_10 = philox_block,
    .start_uniform = start<start_uniform>,
    .start_l2 = start<start_l2>,
    .step_linf = kStepLinf,
    .step_l2 = kStepL2,
    .step_momentum = kStepMomentum,
    .distances = measure,
    .job_submit = job_submit,
    .job_cancel = job_cancel,
    .job_wait = job_wait,
    .job_release = job_release,
    .engine = engine,
};

}  // namespace
}  // namespace signstep

const signstep_api* signstep_get_api(std::uint32_t abi_version) {
  return abi_version == SIGNSTEP_ABI_VERSION ? &signstep::kApi : nullptr;
}
