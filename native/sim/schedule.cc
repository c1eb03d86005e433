#include "schedule.h"

#include <mutex>

namespace signstep::sim {
namespace {
std::mutex mutex;
Schedule schedule;
}  // namespace

Schedule current_schedule() {
  const std::lock_guard lock(mutex);
  return schedule;
}

void set_schedule(Schedule next) {
  const std::lock_guard lock(mutex);
  schedule = next;
}

}  // namespace signstep::sim
