#include "lost_devices.h"

#include <map>
#include <mutex>

#include "runtime.h"

namespace signstep::engine {
namespace {

struct Lost {
  std::mutex mutex;
  std::map<int, std::string> reasons;
};
Lost& lost() {
  static auto* all = new Lost;  // threads may still ask while the process ends
  return *all;
}

}  // namespace

void lose_device(int device, const std::string& reason) {
  const std::lock_guard lock(lost().mutex);
  lost().reasons.emplace(device, reason);
}

void refuse_lost_device(int device) {
  const std::lock_guard lock(lost().mutex);
  const auto found = lost().reasons.find(device);
  if (found == lost().reasons.end()) return;
  throw rt::Failure{rt::Failure::Kind::unavailable,
                    "device " + std::to_string(device) + " is lost to this process, a new one can use it again: " + found->second};
}

}  // namespace signstep::engine
