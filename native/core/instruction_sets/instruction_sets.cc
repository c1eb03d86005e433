#include "instruction_sets.h"

#include <atomic>

namespace signstep {
namespace {

struct Candidate {
  const KernelTable* kernels;
  bool (*runs_here)();
};

// Widest first.
constexpr Candidate kCandidates[] = {
#if defined(SIGNSTEP_X86_64)
    {&kAvx512Kernels,
     [] {
       return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512vl");
     }},
    {&kAvx2Kernels, [] { return __builtin_cpu_supports("avx2") != 0; }},
#elif defined(SIGNSTEP_AARCH64)
    {&kNeonKernels, [] { return true; }},  // part of every AArch64 processor
#endif
    {&kScalarKernels, [] { return true; }},
};

const KernelTable* widest() {
  for (const Candidate& candidate : kCandidates)
    if (candidate.runs_here()) return candidate.kernels;
  return &kScalarKernels;
}

std::atomic<const KernelTable*>& chosen() {
  static std::atomic<const KernelTable*> table{widest()};
  return table;
}

}  // namespace

const KernelTable& kernels() { return *chosen().load(std::memory_order_relaxed); }

bool choose_instruction_set(std::string_view name) {
  for (const Candidate& candidate : kCandidates) {
    if (name != candidate.kernels->name || !candidate.runs_here()) continue;
    chosen().store(candidate.kernels, std::memory_order_relaxed);
    return true;
  }
  return false;
}

}  // namespace signstep
