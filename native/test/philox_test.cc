#include <array>

#include "batch.h"
#include "harness.h"

using test::api;

namespace {

using Words = std::array<std::uint32_t, 4>;

Words block(const Words& counter, const std::array<std::uint32_t, 2>& key) {
  Words out{};
  api().philox4x32_10(counter.data(), key.data(), out.data());
  return out;
}

}  // namespace

// Random123's kat_vectors, "philox4x32 10".
TEST("Philox4x32-10 gives the published test vectors") {
  EXPECT((block({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT((block({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}) ==
          Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT((block({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
          Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST("a uniform start draws the words that the header promises") {
  test::on_every_instruction_set([](const char*) {
    for (const std::size_t elements : {std::size_t{1}, std::size_t{70}, std::size_t{16385 + 64}}) {
      test::Batch b(2, elements, 3);
      const std::uint64_t seed = 0x0123456789abcdefull;
      const auto start = b.start(seed, 5);
      EXPECT(api().start_uniform(&start) == SIGNSTEP_OK);
      for (std::size_t i = 0; i < b.x.size(); ++i) {
        const std::size_t s = i / elements, e = i % elements;
        const Words words = block({static_cast<std::uint32_t>(e / 4), static_cast<std::uint32_t>(b.indices[s]), 0, 5u << 8},
                                  {0x89abcdef, 0x01234567});
        const float u = static_cast<float>(words[e % 4] >> 8) * 0x1p-24f;
        float expected = b.x0[i] + (2 * u - 1) * b.eps[s];
        expected = expected < 0 ? 0 : expected > 1 ? 1 : expected;
        if (b.x[i] != expected) {
          EXPECT(b.x[i] == expected);
          return;
        }
      }
      EXPECT(b.intact());
    }
  });
}
