// A loaded program and the attacks on it, shared by the JavaScript objects and the program's thread. The handles are touched on that
// thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <utility>

#include "engine_jobs.h"

namespace signstep {

struct ProgramState {
  explicit ProgramState(const signstep_engine& of) : engine(of), thread(EngineThread::Start()) {}

  const signstep_engine& engine;
  const std::shared_ptr<EngineThread> thread;
  signstep_program* program = nullptr;
  std::set<signstep_attack*> attacks;
  signstep_program_info info{};  // written before the object is handed out

  std::size_t pixels() const { return std::size_t{info.channels} * info.height * info.width; }

  // On the thread, as the last thing it does.
  void Free() {
    for (signstep_attack* attack : attacks) engine.attack_free(attack);
    attacks.clear();
    if (program != nullptr) engine.program_free(program);
    program = nullptr;
  }
};

struct AttackState {
  AttackState(std::shared_ptr<ProgramState> on, std::uint32_t images) : program(std::move(on)), count(images) {}

  const std::shared_ptr<ProgramState> program;
  signstep_attack* attack = nullptr;  // null once freed
  std::uint32_t count;                // images under attack; the environment's thread keeps it, in the order of the calls
  bool disposed = false;              // likewise

  // On the thread.
  void Free() {
    if (attack == nullptr || program->attacks.erase(attack) == 0) return;
    program->engine.attack_free(attack);
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
