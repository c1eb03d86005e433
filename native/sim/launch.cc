#include "launch.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "../cuda/engine/runtime.h"
#include "checks.h"
#include "failing_launch.h"
#include "schedule.h"
#include "statistics.h"
#include "tma.h"

#if defined(__linux__)
#include <sched.h>
#endif

namespace signstep::sim {
namespace {

std::uint32_t usable_processors() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return static_cast<std::uint32_t>(std::max(1, CPU_COUNT(&set)));
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

// A launch under way: workers take blocks from it until none is left or one has failed.
struct Grid {
  const Call& call;
  const std::uint32_t seed;
  const bool check;
  const std::uint64_t count;
  std::atomic<std::uint64_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex mutex = {};
  std::string failure = {};  // the first; under mutex
  bool out_of_memory = false;

  void take_part(Block& block) {
    run_blocks(block);
    if (!check || block.checks == nullptr) return;
    const std::lock_guard lock(mutex);
    add_statistics(call.name, std::exchange(block.checks->banks.statistics, {}));
  }

  void run_blocks(Block& block) {
    try {
      block.prepare_for(call, seed, check);
    } catch (const rt::Failure& error) {
      const std::lock_guard lock(mutex);
      if (!failed.exchange(true)) failure = error.message;
      out_of_memory = true;
      return;
    }
    while (!failed.load(std::memory_order_relaxed)) {
      const std::uint64_t i = next.fetch_add(1, std::memory_order_relaxed);
      if (i >= count) return;
      const std::uint64_t layer = std::uint64_t{call.grid.x} * call.grid.y;
      const uint3 at{static_cast<unsigned>(i % call.grid.x), static_cast<unsigned>(i % layer / call.grid.x), static_cast<unsigned>(i / layer)};
      if (block.run(at)) continue;
      const std::lock_guard lock(mutex);
      if (!failed.exchange(true)) failure = block.failure;
    }
  }
};

// The OS threads beside the calling one; each keeps its fibres and shared memory for the next launch.
class Workers {
 public:
  static Workers& instance() {
    static auto* workers = new Workers;  // never destroyed: its threads are not joined at exit
    return *workers;
  }

  void run(Grid& grid) {
    const std::uint32_t helpers = static_cast<std::uint32_t>(std::min<std::uint64_t>(usable_processors(), grid.count)) - 1;
    {
      const std::lock_guard lock(mutex_);
      for (; started_ < helpers; ++started_) std::thread([this] { work(); }).detach();
      grid_ = &grid;
      wanted_ = helpers;
      ++generation_;
    }
    wake_.notify_all();
    grid.take_part(own_);
    std::unique_lock lock(mutex_);
    wanted_ = 0;
    left_.wait(lock, [this] { return inside_ == 0; });
    grid_ = nullptr;
  }

  std::mutex launch_mutex;

 private:
  void work() {
    Block block;
    std::uint64_t seen = 0;
    for (;;) {
      Grid* grid;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return wanted_ != 0 && generation_ != seen; });
        seen = generation_;
        --wanted_;
        ++inside_;
        grid = grid_;
      }
      grid->take_part(block);
      const std::lock_guard lock(mutex_);
      if (--inside_ == 0) left_.notify_one();
    }
  }

  Block own_;
  std::mutex mutex_;
  std::condition_variable wake_, left_;
  Grid* grid_ = nullptr;
  std::uint64_t generation_ = 0;
  std::uint32_t wanted_ = 0, inside_ = 0, started_ = 0;
};

constexpr std::uint64_t largest_shared_bytes = 227 * 1024;  // of compute capability 9.0 and 10.0

void check_shape(const Call& call) {
  const auto refuse = [&](const std::string& what) {
    throw rt::Failure{rt::Failure::Kind::launch, std::string(call.name) + ": " + what};
  };
  const std::uint64_t threads = std::uint64_t{call.block.x} * call.block.y * call.block.z;
  if (threads == 0 || threads > 1024) refuse("a block of " + std::to_string(threads) + " threads (1 to 1024)");
  if (threads % 32 != 0) refuse("a block of " + std::to_string(threads) + " threads, not a multiple of 32");
  if (call.grid.x == 0 || call.grid.y == 0 || call.grid.z == 0) refuse("an empty grid");
  if (call.grid.x > 0x7FFFFFFFu || call.grid.y > 65535 || call.grid.z > 65535) refuse("a grid larger than (2^31-1, 65535, 65535)");
  if (call.shared_bytes > largest_shared_bytes) {
    refuse(std::to_string(call.shared_bytes) + " bytes of shared memory, more than " + std::to_string(largest_shared_bytes));
  }
}

}  // namespace

void run_grid(const Call& call) {
  check_shape(call);
  fail_where_asked(call.name);
  Workers& workers = Workers::instance();
  const std::lock_guard one_at_a_time(workers.launch_mutex);
  const Schedule schedule = current_schedule();
  checking = schedule.check;
  Grid grid{.call = call, .seed = schedule.seed, .check = schedule.check,
            .count = std::uint64_t{call.grid.x} * call.grid.y * call.grid.z};
  workers.run(grid);
  if (!grid.failed.load()) return;
  throw rt::Failure{grid.out_of_memory ? rt::Failure::Kind::out_of_memory : rt::Failure::Kind::launch,
                    std::string(call.name) + ": " + grid.failure};
}

}  // namespace signstep::sim
