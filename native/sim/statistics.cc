#include "statistics.h"

#include <mutex>
#include <utility>

namespace signstep::sim {
namespace {

struct All {
  std::mutex mutex;
  std::map<std::string, Statistics> by_kernel;
};
All& all() {
  static auto* kept = new All;
  return *kept;
}

}  // namespace

std::map<std::string, Statistics> take_statistics() {
  const std::lock_guard lock(all().mutex);
  return std::exchange(all().by_kernel, {});
}

void add_statistics(const std::string& kernel, const Statistics& counted) {
  const std::lock_guard lock(all().mutex);
  Statistics& sum = all().by_kernel[kernel];
  sum.launches += counted.launches;
  sum.blocks += counted.blocks;
  sum.loads += counted.loads;
  sum.stores += counted.stores;
  sum.load_conflicts += counted.load_conflicts;
  sum.store_conflicts += counted.store_conflicts;
}

}  // namespace signstep::sim
