// A fibre: a stack of its own that runs until it hands over to another. The simulator gives one to every CUDA thread of a block; all
// fibres of a block stay on one OS thread.
#pragma once

#include <cstddef>

#if !defined(__x86_64__) && !defined(__aarch64__)
#define SIGNSTEP_SIM_UCONTEXT 1
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define SIGNSTEP_SIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIGNSTEP_SIM_ASAN 1
#endif
#endif

namespace signstep::sim {

// Stacks for `count` fibres in one mapping, a page that cannot be touched below each: an overflow is a fault, not a changed neighbour.
class Stacks {
 public:
  static constexpr std::size_t stack_bytes = 128 * 1024;  // reserved, not used: pages are taken as they are touched
  Stacks() = default;
  ~Stacks();
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;
  void reserve(std::size_t count);  // drops the former stacks; throws rt::Failure out_of_memory
  std::byte* bottom(std::size_t index) const { return base_ + index * (stack_bytes + guard_bytes_) + guard_bytes_; }
  std::size_t count() const { return count_; }

 private:
  std::byte* base_ = nullptr;
  std::size_t count_ = 0;
  std::size_t guard_bytes_ = 0;
};

// Where a fibre (or the OS thread's own stack) stands while it does not run.
struct Context {
#if defined(SIGNSTEP_SIM_UCONTEXT)
  ucontext_t state;
#else
  void* stack_pointer = nullptr;
#endif
  const void* bottom = nullptr;  // for AddressSanitizer
  std::size_t bytes = 0;
  void* fake_stack = nullptr;
};

// Makes `context` start at `entry` on the given stack. `entry` must never return: it ends with switch_context(..., true).
// `index` staggers the first address, or all fibres would share the same few cache sets.
void prepare(Context& context, std::byte* bottom, std::size_t index, void (*entry)());

// Goes on in `to`; returns when someone switches back to `from`. `last`: from will never be resumed.
void switch_context(Context& from, Context& to, bool last = false);

// The first thing `entry` calls.
void arrived_in_fiber();

}  // namespace signstep::sim
