// What checked launches counted, by kernel name.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace signstep::sim {

struct Statistics {
  std::uint64_t launches = 0, blocks = 0;
  // Warp instructions on shared memory, and the passes they took beyond what their size needs: 0 where no two lanes meet in a bank.
  std::uint64_t loads = 0, stores = 0, load_conflicts = 0, store_conflicts = 0;
};

// Since the last call.
std::map<std::string, Statistics> take_statistics();
void add_statistics(const std::string& kernel, const Statistics& counted);

}  // namespace signstep::sim
