// A loaded program and the attacks on it, shared by the JavaScript objects and the program's two threads: one does its work, the other
// sends the next batch meanwhile.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

#include "engine_jobs.h"

namespace signstep {

struct ProgramState {
  explicit ProgramState(const signstep_engine& of) : engine(of), thread(EngineThread::Start()), uploads(EngineThread::Start()) {}

  const signstep_engine& engine;
  const std::shared_ptr<EngineThread> thread, uploads;
  signstep_program* program = nullptr;
  signstep_program_info info{};  // written before the object is handed out

  std::size_t pixels() const { return std::size_t{info.channels} * info.height * info.width; }

  void Add(signstep_attack* attack) {
    const std::lock_guard lock(mutex_);
    attacks_.insert(attack);
  }
  // On the thread. Nothing if it has been freed.
  void Free(signstep_attack* attack) {
    {
      const std::lock_guard lock(mutex_);
      if (attacks_.erase(attack) == 0) return;
    }
    engine.attack_free(attack);
  }
  // On the thread, as the last thing it does.
  void Free() {
    uploads->Finish([] {});
    uploads->WaitIdle();
    for (signstep_attack* attack : attacks_) engine.attack_free(attack);
    attacks_.clear();
    if (program != nullptr) engine.program_free(program);
    program = nullptr;
  }

 private:
  std::mutex mutex_;
  std::set<signstep_attack*> attacks_;
};

struct AttackState {
  AttackState(std::shared_ptr<ProgramState> on, std::uint32_t images) : program(std::move(on)), begun(images), count(images) {}

  const std::shared_ptr<ProgramState> program;
  signstep_attack* attack = nullptr;  // null once freed
  const std::uint32_t begun;
  std::atomic<std::uint32_t> count;   // images under attack
  std::weak_ptr<void> retiring;       // held by steps that will change the count; the environment's thread looks at it
  bool disposed = false;              // the environment's thread's

  // On the thread.
  void Free() {
    if (attack != nullptr) program->Free(attack);
    attack = nullptr;
  }
};

// What a JavaScript object holds. When the last object of a program goes, forgotten or not, the program is freed on its thread.
struct ProgramLease {
  explicit ProgramLease(std::shared_ptr<ProgramState> of) : state(std::move(of)) {}
  ~ProgramLease() {
    state->thread->Finish([freed = state] { freed->Free(); });
  }
  ProgramLease(const ProgramLease&) = delete;

  const std::shared_ptr<ProgramState> state;
};

struct AttackLease {
  AttackLease(std::shared_ptr<AttackState> of, std::shared_ptr<ProgramLease> on) : state(std::move(of)), program(std::move(on)) {}
  ~AttackLease() {
    if (!state->disposed) state->program->thread->Submit([freed = state] { freed->Free(); });
  }
  AttackLease(const AttackLease&) = delete;

  const std::shared_ptr<AttackState> state;
  const std::shared_ptr<ProgramLease> program;
};

}  // namespace signstep
