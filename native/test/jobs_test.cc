#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "batch.h"
#include "harness.h"

using test::api;
using test::Batch;

namespace {

struct Ended {
  std::atomic<int> calls{0};
  signstep_status status = SIGNSTEP_OK;
  int order = -1;
  std::atomic<int>* clock = nullptr;
  std::atomic<bool>* gate = nullptr;  // holds the job thread until it opens

  static void done(void* user, signstep_status status, const char*) {
    auto& self = *static_cast<Ended*>(user);
    if (self.gate != nullptr) self.gate->wait(false);
    self.status = status;
    if (self.clock != nullptr) self.order = (*self.clock)++;
    ++self.calls;
  }
};

}  // namespace

TEST("a job gives the bits of the call and tells of its end once") {
  for (const signstep_rule rule : {SIGNSTEP_RULE_LINF, SIGNSTEP_RULE_L2, SIGNSTEP_RULE_MOMENTUM}) {
    Batch direct(3, 30000, 5), queued(3, 30000, 5);
    const auto step = direct.step();
    EXPECT((rule == SIGNSTEP_RULE_LINF ? api().step_linf : rule == SIGNSTEP_RULE_L2 ? api().step_l2 : api().step_momentum)(&step) ==
           SIGNSTEP_OK);
    Ended ended;
    signstep_job* job = nullptr;
    {
      const auto submitted = queued.step();
      EXPECT(api().job_submit(rule, &submitted, Ended::done, &ended, &job) == SIGNSTEP_OK);
    }
    api().job_wait(job);
    api().job_release(job);
    EXPECT(ended.calls == 1 && ended.status == SIGNSTEP_OK);
    EXPECT(test::same_bits(direct.x.copy(), queued.x.copy()));
    EXPECT(direct.nan == queued.nan && direct.zero == queued.zero);
  }
}

TEST("jobs run in the order of submission; cancelled ones end as such") {
  std::vector<std::unique_ptr<Batch>> batches;
  std::vector<Ended> ended(20);
  std::vector<signstep_job*> jobs(20);
  std::atomic<int> clock{0};
  std::atomic<bool> gate{false};
  ended.front().gate = &gate;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    batches.push_back(std::make_unique<Batch>(2, 20000, static_cast<std::uint32_t>(i)));
    ended[i].clock = &clock;
  }
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    const auto step = batches[i]->step();
    EXPECT(api().job_submit(SIGNSTEP_RULE_L2, &step, Ended::done, &ended[i], &jobs[i]) == SIGNSTEP_OK);
  }
  api().job_cancel(jobs.back());
  gate = true;
  gate.notify_one();
  for (signstep_job* job : jobs) api().job_wait(job);
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    EXPECT(ended[i].order == static_cast<int>(i) && ended[i].calls == 1);
    api().job_cancel(jobs[i]);  // after the end: no effect
    api().job_release(jobs[i]);
  }
  EXPECT(ended.back().status == SIGNSTEP_CANCELLED);
  EXPECT(ended.front().status == SIGNSTEP_OK);
}

TEST("a refused job is not queued") {
  Batch b(1, 10, 1);
  auto step = b.step();
  step.direction = 2;
  Ended ended;
  signstep_job* job = nullptr;
  EXPECT(api().job_submit(SIGNSTEP_RULE_LINF, &step, Ended::done, &ended, &job) == SIGNSTEP_INVALID);
  EXPECT(job == nullptr && ended.calls == 0);
  EXPECT(api().job_submit(9, &step, Ended::done, &ended, &job) == SIGNSTEP_INVALID);
}

TEST("many threads may call at once, while the thread count changes") {
  const std::uint32_t threads = api().threads();
  Batch reference(4, 20000, 3);
  const auto step = reference.step();
  EXPECT(api().step_l2(&step) == SIGNSTEP_OK);
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 6; ++caller)
    callers.emplace_back([&, caller] {
      for (int turn = 0; turn < 30; ++turn) {
        Batch b(4, 20000, 3);
        const auto own = b.step();
        if (api().step_l2(&own) != SIGNSTEP_OK || !test::same_bits(b.x.copy(), reference.x.copy())) ++wrong;
        if (caller == 0) api().set_threads(1 + static_cast<std::uint32_t>(turn) % 5);
      }
    });
  for (std::thread& caller : callers) caller.join();
  EXPECT(wrong == 0);
  api().set_threads(threads);
}

TEST("errors belong to the thread that made them") {
  EXPECT(api().set_threads(0) == SIGNSTEP_INVALID);
  const std::string mine = api().last_error();
  std::thread([] {
    EXPECT(std::string(api().last_error()).empty());
    EXPECT(api().set_instruction_set("mmx") == SIGNSTEP_UNSUPPORTED);
  }).join();
  EXPECT(mine == api().last_error());
}
