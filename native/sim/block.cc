#include "block.h"

#include <bit>
#include <cstring>

#include "checks.h"
#include "mbarrier.h"
#include "tma.h"
#include "wgmma.h"

namespace signstep::sim {

constinit thread_local Thread* current = nullptr;
constinit bool checking = false;

namespace {

std::string text_of(const uint3& at) { return "(" + std::to_string(at.x) + "," + std::to_string(at.y) + "," + std::to_string(at.z) + ")"; }

std::string text_of(const Wait& wait) {
  std::string text = wait.what;
  if (wait.id >= 0) text += " " + std::to_string(wait.id);
  const std::string file = wait.place.file_name();
  return text + " (" + file.substr(file.rfind('/') + 1) + ":" + std::to_string(wait.place.line()) + ")";
}

// "warp 0: lanes ffffffff at __syncthreads (x.cu:12); warp 1: lanes 1 at ..., lanes fffffffe returned"
std::string where_all_wait(const Block& block) {
  std::string text;
  for (std::uint32_t w = 0; w < block.warps; ++w) {
    const Warp& warp = block.warp[w];
    if (warp.live == 0) continue;
    text += (text.empty() ? "warp " : "; warp ") + std::to_string(w) + ":";
    std::uint32_t left = warp.live;
    bool first = true;
    while (left != 0) {
      const std::string what = text_of(block.thread[w * 32 + static_cast<std::uint32_t>(std::countr_zero(left))].wait);
      std::uint32_t same = 0;
      for (std::uint32_t bits = left; bits != 0; bits &= bits - 1) {
        const auto lane = static_cast<std::uint32_t>(std::countr_zero(bits));
        if (text_of(block.thread[w * 32 + lane].wait) == what) same |= 1u << lane;
      }
      char lanes[16];
      std::snprintf(lanes, sizeof lanes, "%x", same);
      text += std::string(first ? " " : ", ") + (same == ~0u ? std::string() : std::string("lanes ") + lanes + " ") + "at " + what;
      left &= ~same;
      first = false;
    }
    if (warp.live != ~0u) {
      char lanes[16];
      std::snprintf(lanes, sizeof lanes, "%x", ~warp.live);
      text += std::string(", lanes ") + lanes + " returned";
    }
  }
  return text;
}

void release(Block& block, Barrier& barrier) {
  for (std::uint32_t w = 0; w < block.warps; ++w) {
    wake(block, w, barrier.waiting[w]);
    barrier.waiting[w] = 0;
  }
  barrier.arrived = 0;
  barrier.expected = 0;
}

// The next thread to run, or nullptr where all wait.
Thread* choose(Block& block) {
  std::uint32_t w = block.current_warp;
  if (block.warp[w].runnable == 0) {
    const std::uint32_t start = block.seed == 0 ? w + 1 : block.draw();
    std::uint32_t i = 0;
    for (; i < block.warps; ++i) {
      w = (start + i) % block.warps;
      if (block.warp[w].runnable != 0) break;
    }
    if (i == block.warps) return nullptr;
    block.current_warp = w;
  }
  const std::uint32_t runnable = block.warp[w].runnable;
  std::uint32_t lane;
  if (block.seed == 0) {
    const std::uint32_t from = current != nullptr && current->warp == w ? current->lane : 0;
    const std::uint32_t above = runnable & (~0u << from);
    lane = static_cast<std::uint32_t>(std::countr_zero(above != 0 ? above : runnable));
  } else {
    const std::uint32_t turn = block.draw() & 31;
    lane = (static_cast<std::uint32_t>(std::countr_zero(std::rotr(runnable, static_cast<int>(turn)))) + turn) & 31;
  }
  return &block.thread[w * 32 + lane];
}

Thread* next_or_deliver(Block& block) {
  for (;;) {
    if (block.checks != nullptr) block.checks->before_choice(block);
    Thread* next = choose(block);
    if (next != nullptr) return next;
    if (block.checks == nullptr || !block.checks->deliver_one(block)) return nullptr;
  }
}

void thread_main() {
  arrived_in_fiber();
  Thread& self = *current;
  Block& block = *self.block;
  try {
    block.call->invoke(block.call->arguments);
    if (block.checks != nullptr) block.checks->at_return(self);
  } catch (const Fault& fault) {
    block.failure = "block " + text_of(block.index) + ", thread " + text_of(self.index) + ": " + fault.what;
  } catch (const std::exception& error) {
    block.failure = "block " + text_of(block.index) + ", thread " + text_of(self.index) + ": " + error.what();
  }
  Context* go_on = &block.main;
  if (block.failure.empty()) {
    Warp& warp = block.warp[self.warp];
    warp.live &= ~(1u << self.lane);
    warp.runnable &= ~(1u << self.lane);
    --block.live;
    Barrier& all = block.barrier[0];
    if (all.expected == ~0u && all.arrived >= block.live) {
      if (block.checks != nullptr) block.checks->barrier_completed(block, 0);
      release(block, all);
    }
    if (block.live != 0) {
      Thread* next = next_or_deliver(block);
      if (next != nullptr) {
        current = next;
        go_on = &next->context;
      } else {
        block.failure = "block " + text_of(block.index) + ": deadlock: " + where_all_wait(block);
      }
    }
  }
  switch_context(self.context, *go_on, true);
}

}  // namespace

Block::Block() : products(std::make_unique<Products>()) {}
Block::~Block() = default;

std::uint32_t Block::draw() {
  random += 0x9E3779B97F4A7C15u;  // splitmix64
  std::uint64_t z = random;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return static_cast<std::uint32_t>((z ^ (z >> 31)) >> 32);
}

void fail(std::string what) { throw Fault{std::move(what)}; }

void Block::prepare_for(const Call& new_call, std::uint32_t new_seed, bool check) {
  call = &new_call;
  seed = new_seed;
  threads = new_call.block.x * new_call.block.y * new_call.block.z;
  warps = (threads + 31) / 32;
  if (thread_capacity_ < threads) {
    thread = std::make_unique<Thread[]>(threads);
    stacks_.reserve(threads);
    thread_capacity_ = threads;
  }
  shared_bytes = new_call.shared_bytes;
  if (shared_storage_ == nullptr || shared_capacity_ < shared_bytes) {
    shared_capacity_ = shared_bytes;
    shared_storage_ = std::make_unique<std::byte[]>(shared_capacity_ + 1024);
  }
  const auto address = reinterpret_cast<std::uintptr_t>(shared_storage_.get());
  shared = shared_storage_.get() + ((1024 - address % 1024) % 1024);
  if (check) {
    if (checks == nullptr) checks = std::make_unique<Checks>();
    checks->prepare_for(*this);
  } else {
    checks.reset();
  }
}

bool Block::run(uint3 at) {
  index = at;
  failure.clear();
  live = threads;
  current_warp = 0;
  random = seed * 0x9E3779B97F4A7C15u ^ (std::uint64_t{at.z} << 42) ^ (std::uint64_t{at.y} << 21) ^ at.x;
  barrier.fill({});
  mbarriers.clear();
  if (products->used) *products = {};
  for (std::uint32_t w = 0; w < warps; ++w) {
    warp[w] = {};
    warp[w].live = warp[w].runnable = w * 32 + 32 <= threads ? ~0u : (1u << (threads % 32)) - 1;
  }
  for (std::uint32_t i = 0; i < threads; ++i) {
    Thread& t = thread[i];
    t.block = this;
    t.number = i;
    t.warp = i / 32;
    t.lane = i % 32;
    t.wait = {};
    t.index = {i % call->block.x, i / call->block.x % call->block.y, i / (call->block.x * call->block.y)};
    prepare(t.context, stacks_.bottom(i), i, thread_main);
  }
  if (shared_bytes != 0) std::memset(shared, 0xFF, shared_bytes);  // NaN in every floating type: what was never written shows
  if (checks != nullptr) checks->begin_block(*this);
  current = nullptr;
  if (seed != 0) current_warp = draw() % warps;
  current = choose(*this);
  main = {};
  switch_context(main, current->context);
  current = nullptr;
  if (checks != nullptr) checks->end_block(*this);
  return failure.empty();
}

void wait_here(const char* what, int id, Place place) {
  Thread& self = *current;
  Block& block = *self.block;
  self.wait.what = what;  // one by one: a copy of the whole would stall on the stores that made it
  self.wait.id = id;
  self.wait.place = place;
  block.warp[self.warp].runnable &= ~(1u << self.lane);
  Thread* next = next_or_deliver(block);
  if (next == nullptr) fail("deadlock: " + where_all_wait(block));
  if (next == &self) return;
  current = next;
  switch_context(self.context, next->context);
}

namespace {

Rendezvous* group_of(Warp& warp, std::uint32_t mask, const char* what) {
  if (mask == ~0u) return &warp.all;
  Rendezvous* unused = nullptr;
  for (Rendezvous& group : warp.groups) {
    if (group.mask == mask) return &group;
    if (group.mask == 0) unused = &group;
    if ((group.mask & mask) != 0) fail(std::string(what) + ": lanes of one warp execute it with different masks: divergent");
  }
  if (unused == nullptr) fail(std::string(what) + ": more than four groups of lanes meet at once");
  return unused;
}

}  // namespace

void meet(std::uint32_t mask, void* operands, Perform perform, const char* what, Place place) {
  Thread& self = *current;
  Warp& warp = self.block->warp[self.warp];
  const std::uint32_t bit = 1u << self.lane;
  Rendezvous* group = &warp.all;
  if (mask != ~0u || warp.live != ~0u) [[unlikely]] {
    if ((mask & bit) == 0) fail(std::string(what) + ": the mask leaves out the lane that executes it");
    if ((mask & ~warp.live) != 0) fail(std::string(what) + ": the mask names lanes that have returned");
    group = group_of(warp, mask, what);
  }
  if (group->mask == 0) {
    group->mask = mask;
    group->arrived = 0;
    group->perform = perform;
    group->line = place.line();
  } else if (group->perform != perform || (checking && group->line != place.line())) {
    fail(std::string(what) + " in line " + std::to_string(place.line()) + " while other lanes of the warp wait in line " +
         std::to_string(group->line) + ": divergent");
  }
  group->arrived |= bit;
  warp.operands[self.lane] = operands;
  if (group->arrived != mask) {
    wait_here(what, -1, place);
    return;
  }
  group->mask = 0;
  perform(warp.operands.data(), mask);
  if (checking && mask == ~0u) self.block->checks->warp_met(self.warp);
  warp.runnable |= mask;
}

namespace {

// Counts one arrival; true: it was the last, and the barrier has been released.
bool arrive(Block& block, int id, std::uint32_t threads, bool waits, Place place) {
  const char* what = !waits ? "bar.arrive" : threads == 0 ? "__syncthreads" : "bar.sync";
  if (id < 0 || id > 15) fail(std::string(what) + ": barrier " + std::to_string(id) + " does not exist (0-15)");
  if (threads != 0 && (threads % 32 != 0 || threads > block.threads)) {
    fail(std::string(what) + " " + std::to_string(id) + ": " + std::to_string(threads) + " threads is not a multiple of 32 within the block");
  }
  Barrier& barrier = block.barrier[static_cast<std::size_t>(id)];
  const std::uint32_t expected = threads == 0 ? ~0u : threads;
  if (barrier.expected == 0) {
    barrier.expected = expected;
    barrier.line = place.line();
  } else if (barrier.expected != expected) {
    fail(std::string(what) + " " + std::to_string(id) + " in line " + std::to_string(place.line()) + " counts other threads than in line " +
         std::to_string(barrier.line));
  } else if (checking && threads == 0 && barrier.line != place.line()) {
    fail(std::string(what) + " in line " + std::to_string(place.line()) + " while other threads wait in line " + std::to_string(barrier.line) +
         ": divergent");
  }
  if (block.checks != nullptr) block.checks->barrier_arrived(*current, id, waits);
  ++barrier.arrived;
  if (barrier.arrived < (threads == 0 ? block.live : threads)) return false;
  if (block.checks != nullptr) block.checks->barrier_completed(block, id);
  release(block, barrier);
  return true;
}

}  // namespace

void barrier_wait(int id, std::uint32_t threads, Place place) {
  Thread& self = *current;
  Block& block = *self.block;
  if (arrive(block, id, threads, true, place)) return;
  block.barrier[static_cast<std::size_t>(id)].waiting[self.warp] |= 1u << self.lane;
  wait_here(threads == 0 ? "__syncthreads" : "bar.sync", threads == 0 ? -1 : id, place);
}

void barrier_arrive(int id, std::uint32_t threads, Place place) { arrive(*current->block, id, threads, false, place); }

}  // namespace signstep::sim
