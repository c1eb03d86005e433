#include "bank_conflicts.h"

#include <algorithm>

namespace signstep::sim {
namespace {

// The passes that the words of some lanes need: as many as the fullest of the 32 banks holds different words.
class Pass {
 public:
  void word(std::uint32_t index) {
    auto& bank = banks_[index % 32];
    if (std::find(bank.begin(), bank.end(), index) == bank.end()) bank.push_back(index);
  }
  std::uint64_t take() {
    std::size_t most = 0;
    for (auto& bank : banks_) {
      most = std::max(most, bank.size());
      bank.clear();
    }
    return most;
  }

 private:
  std::array<std::vector<std::uint32_t>, 32> banks_;
};

Pass& pass() {
  static thread_local Pass one;
  return one;
}

}  // namespace

void BankConflicts::begin_block() {
  for (auto& warp : log_) {
    for (auto& lane : warp) lane.clear();
  }
}

void BankConflicts::access(std::uint32_t warp, std::uint32_t lane, std::size_t offset, std::size_t bytes, bool writes) {
  auto& log = log_[warp][lane];
  if (log.size() < most_entries) log.push_back({static_cast<std::uint32_t>(offset), static_cast<std::uint8_t>(bytes), writes});
}

void BankConflicts::rows(const std::size_t (&offsets)[8]) {
  for (const std::size_t offset : offsets) {
    for (std::uint32_t i = 0; i < 4; ++i) pass().word(static_cast<std::uint32_t>(offset / 4) + i);
  }
  ++statistics.loads;
  statistics.load_conflicts += pass().take() - 1;
}

void BankConflicts::flush(std::uint32_t warp) {
  auto& log = log_[warp];
  std::size_t longest = 0;
  for (const auto& lane : log) longest = std::max(longest, lane.size());
  for (std::size_t i = 0; i < longest; ++i) {
    // Lanes whose i-th access is of the same kind as the first such lane's make up the instruction.
    const Entry* first = nullptr;
    std::uint64_t passes = 0, needed = 0;
    std::uint32_t lanes_in_pass = 32;
    bool any = false;
    for (std::uint32_t lane = 0; lane < 32; ++lane) {
      if (lane % lanes_in_pass == 0 && any) {
        passes += pass().take();
        ++needed;
        any = false;
      }
      if (i >= log[lane].size()) continue;
      const Entry& entry = log[lane][i];
      if (first == nullptr) {
        first = &entry;
        // 8-byte accesses go in two halves of a warp, 16-byte ones in four quarters.
        lanes_in_pass = entry.bytes == 16 ? 8 : entry.bytes == 8 ? 16 : 32;
      }
      if (entry.bytes != first->bytes || entry.writes != first->writes) continue;
      any = true;
      for (std::uint32_t word = entry.offset / 4; word <= (entry.offset + entry.bytes - 1) / 4; ++word) pass().word(word);
    }
    if (any) {
      passes += pass().take();
      ++needed;
    }
    (first->writes ? statistics.stores : statistics.loads) += 1;
    (first->writes ? statistics.store_conflicts : statistics.load_conflicts) += passes - needed;
  }
  for (auto& lane : log) lane.clear();
}

}  // namespace signstep::sim
