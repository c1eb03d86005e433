#include "failing_launch.h"

#include <cstdlib>
#include <mutex>
#include <string>

#include "../cuda/engine/runtime.h"

namespace signstep::sim {

void fail_where_asked(const char* kernel) {
  const char* const text = std::getenv("SIGNSTEP_SIM_FAIL");
  const std::string asked = text != nullptr ? text : "";
  static std::mutex mutex;
  static std::string counted;  // the wish that `launches` is about
  static unsigned long launches = 0;  // since it was uttered
  const std::lock_guard lock(mutex);
  if (counted != asked) {
    counted = asked;
    launches = 0;
  }
  const std::size_t colon = counted.find(':');
  if (colon == std::string::npos || counted.compare(0, colon, kernel) != 0) return;
  if (++launches != std::strtoul(counted.c_str() + colon + 1, nullptr, 10)) return;
  throw rt::Failure{rt::Failure::Kind::lost, std::string(kernel) + ": uncorrectable memory error (asked for by SIGNSTEP_SIM_FAIL)"};
}

}  // namespace signstep::sim
