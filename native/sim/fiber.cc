#include "fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

#include "../cuda/engine/runtime.h"

#if defined(SIGNSTEP_SIM_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace signstep::sim {

Stacks::~Stacks() {
  if (base_ != nullptr) munmap(base_, count_ * (stack_bytes + guard_bytes_));
}

void Stacks::reserve(std::size_t count) {
  if (base_ != nullptr) munmap(base_, count_ * (stack_bytes + guard_bytes_));
  base_ = nullptr;
  count_ = 0;
  guard_bytes_ = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t each = stack_bytes + guard_bytes_;
  void* mapping = mmap(nullptr, count * each, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) {
    throw rt::Failure{rt::Failure::Kind::out_of_memory, "out of memory: no room for the stacks of " + std::to_string(count) + " threads"};
  }
  base_ = static_cast<std::byte*>(mapping);
  count_ = count;
  for (std::size_t i = 0; i < count; ++i) mprotect(base_ + i * each, guard_bytes_, PROT_NONE);
}

namespace {

// The context that was left last on this OS thread: AddressSanitizer tells its stack bounds only after the switch.
[[maybe_unused]] thread_local Context* left = nullptr;

void before_switch([[maybe_unused]] Context& from, [[maybe_unused]] const Context& to, [[maybe_unused]] bool last) {
#if defined(SIGNSTEP_SIM_ASAN)
  left = &from;
  __sanitizer_start_switch_fiber(last ? nullptr : &from.fake_stack, to.bottom, to.bytes);
#endif
}

void after_switch([[maybe_unused]] void* fake_stack) {
#if defined(SIGNSTEP_SIM_ASAN)
  const void* bottom = nullptr;
  std::size_t bytes = 0;
  __sanitizer_finish_switch_fiber(fake_stack, &bottom, &bytes);
  if (left->bottom == nullptr) {
    left->bottom = bottom;
    left->bytes = bytes;
  }
#endif
}

}  // namespace

void arrived_in_fiber() { after_switch(nullptr); }

#if defined(SIGNSTEP_SIM_UCONTEXT)

void prepare(Context& context, std::byte* bottom, std::size_t, void (*entry)()) {
  context.bottom = bottom;
  context.bytes = Stacks::stack_bytes;
  context.fake_stack = nullptr;
  getcontext(&context.state);
  context.state.uc_stack.ss_sp = bottom;
  context.state.uc_stack.ss_size = Stacks::stack_bytes;
  context.state.uc_link = nullptr;
  makecontext(&context.state, entry, 0);
}

void switch_context(Context& from, Context& to, bool last) {
  before_switch(from, to, last);
  swapcontext(&from.state, &to.state);
  after_switch(from.fake_stack);
}

#else

// signstep_sim_switch(void** save, void* load): stores the callee-saved registers on the running stack, its address in *save, and takes
// those at `load`. ucontext would make a system call per switch (~0.3 us against ~3 ns).
extern "C" void signstep_sim_switch(void** save, void* load) __attribute__((visibility("hidden")));

#if defined(__x86_64__)
__asm__(
    ".text\n"
    ".globl signstep_sim_switch\n"
    ".hidden signstep_sim_switch\n"
    ".type signstep_sim_switch,@function\n"
    "signstep_sim_switch:\n"
    "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
    "  movq %rsp, (%rdi)\n"
    "  movq %rsi, %rsp\n"
    "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
    "  ret\n"
    ".size signstep_sim_switch, .-signstep_sim_switch\n");

namespace {
void* first_frame(std::byte* top, void (*entry)()) {
  auto* at = reinterpret_cast<void**>(top);
  *--at = nullptr;                             // the return address of entry: none; also aligns as a call would
  *--at = reinterpret_cast<void*>(entry);      // where `ret` goes
  for (int i = 0; i < 6; ++i) *--at = nullptr;  // rbp rbx r12-r15
  return at;
}
}  // namespace
#else
__asm__(
    ".text\n"
    ".globl signstep_sim_switch\n"
    ".hidden signstep_sim_switch\n"
    ".type signstep_sim_switch,%function\n"
    "signstep_sim_switch:\n"
    "  sub sp, sp, #160\n"
    "  stp x19, x20, [sp, #0]\n  stp x21, x22, [sp, #16]\n  stp x23, x24, [sp, #32]\n  stp x25, x26, [sp, #48]\n"
    "  stp x27, x28, [sp, #64]\n  stp x29, x30, [sp, #80]\n"
    "  stp d8, d9, [sp, #96]\n  stp d10, d11, [sp, #112]\n  stp d12, d13, [sp, #128]\n  stp d14, d15, [sp, #144]\n"
    "  mov x9, sp\n  str x9, [x0]\n  mov sp, x1\n"
    "  ldp x19, x20, [sp, #0]\n  ldp x21, x22, [sp, #16]\n  ldp x23, x24, [sp, #32]\n  ldp x25, x26, [sp, #48]\n"
    "  ldp x27, x28, [sp, #64]\n  ldp x29, x30, [sp, #80]\n"
    "  ldp d8, d9, [sp, #96]\n  ldp d10, d11, [sp, #112]\n  ldp d12, d13, [sp, #128]\n  ldp d14, d15, [sp, #144]\n"
    "  add sp, sp, #160\n"
    "  ret\n"
    ".size signstep_sim_switch, .-signstep_sim_switch\n");

namespace {
void* first_frame(std::byte* top, void (*entry)()) {
  auto* at = reinterpret_cast<void**>(top) - 20;  // 160 bytes: x19-x30, d8-d15
  for (int i = 0; i < 20; ++i) at[i] = nullptr;
  at[11] = reinterpret_cast<void*>(entry);  // x30
  return at;
}
}  // namespace
#endif

void prepare(Context& context, std::byte* bottom, std::size_t index, void (*entry)()) {
  context.bottom = bottom;
  context.bytes = Stacks::stack_bytes;
  context.fake_stack = nullptr;
#if defined(SIGNSTEP_SIM_ASAN)
  __asan_unpoison_memory_region(bottom, Stacks::stack_bytes);  // a fibre given up in mid-run left its marks
#endif
  context.stack_pointer = first_frame(bottom + Stacks::stack_bytes - index % 32 * 448, entry);
}

void switch_context(Context& from, Context& to, bool last) {
  before_switch(from, to, last);
  signstep_sim_switch(&from.stack_pointer, to.stack_pointer);
  after_switch(from.fake_stack);
}

#endif

}  // namespace signstep::sim
