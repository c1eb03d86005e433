// The same bits on every processor architecture: a checksum over what the operations make of arithmetically simple inputs. It was found
// equal on x86-64 (scalar, AVX2, AVX-512) and AArch64 (scalar, NEON); a change of it changes every published seed.
#include "batch.h"
#include "harness.h"

using test::api;
using test::Batch;

namespace {

class Checksum {
 public:
  void add(const std::vector<float>& values) {
    for (const float value : values) {
      std::uint32_t bits;
      std::memcpy(&bits, &value, sizeof bits);
      hash_ = (hash_ ^ bits) * 0x100000001b3ull;  // FNV-1a, by words
    }
  }
  std::uint64_t value() const { return hash_; }

 private:
  std::uint64_t hash_ = 0xcbf29ce484222325ull;
};

}  // namespace

TEST("random starts and steps have the same bits on every architecture") {
  test::on_every_instruction_set([](const char*) {
    Batch b(2, 20011, 1);
    b.indices = {3, 1000000};
    b.eps = {0.125f, 0.3f};
    b.alpha = {0.03f, 0.07f};
    for (std::size_t i = 0; i < b.x.size(); ++i) {
      b.x0[i] = static_cast<float>(i * 7919 % 1024) / 1023.0f;
      b.g[i] = static_cast<float>(static_cast<int>(i * 104729 % 2001) - 1000) * 1e-5f;
      b.momentum[i] = 0;
    }
    Checksum checksum;
    const auto uniform = b.start(0x123456789abcdefull, 2);
    EXPECT(api().start_uniform(&uniform) == SIGNSTEP_OK);
    checksum.add(b.x.copy());
    const auto step = b.step();
    EXPECT(api().step_momentum(&step) == SIGNSTEP_OK);
    checksum.add(b.x.copy());
    checksum.add(b.momentum.copy());
    const auto ball = b.start(77);
    EXPECT(api().start_l2(&ball) == SIGNSTEP_OK);
    checksum.add(b.x.copy());
    EXPECT(api().step_l2(&step) == SIGNSTEP_OK);
    checksum.add(b.x.copy());
    EXPECT(checksum.value() == 0xee900ba15ce540c8ull);
  });
}
