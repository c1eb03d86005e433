// Instruction set, thread count and the split into batches must not show in any bit of a result.
#include <functional>

#include "batch.h"
#include "harness.h"

using test::api;
using test::Batch;

namespace {

using Result = std::vector<float>;

// Everything a call wrote.
Result written(const Batch& b) {
  Result all = b.x.copy();
  const Result momentum = b.momentum.copy();
  all.insert(all.end(), momentum.begin(), momentum.end());
  for (const std::int32_t n : b.nan) all.push_back(static_cast<float>(n));
  for (const std::uint8_t z : b.zero) all.push_back(z);
  return all;
}

const std::vector<std::function<void(Batch&)>> kOperations = {
    [](Batch& b) { const auto s = b.start(9, 3); api().start_uniform(&s); },
    [](Batch& b) { const auto s = b.start(9, 3); api().start_l2(&s); },
    [](Batch& b) { auto s = b.start(9, 3); s.sphere = 1; api().start_l2(&s); },
    [](Batch& b) { const auto s = b.step(); api().step_linf(&s); },
    [](Batch& b) { const auto s = b.step(-1); api().step_l2(&s); },
    [](Batch& b) { const auto s = b.step(); api().step_momentum(&s); },
    [](Batch& b) {
      Result linf(b.count), l2(b.count);
      api().distances(b.count, b.elements, b.x.data(), b.x0.data(), linf.data(), l2.data());
      for (std::size_t s = 0; s < b.count; ++s) {
        b.momentum[s * b.elements] = linf[s];
        b.x[s * b.elements] = l2[s];
      }
    },
};

}  // namespace

TEST("every instruction set and thread count gives the same bits") {
  const std::uint32_t threads = api().threads();
  struct Shape {
    std::size_t count, elements;
  };
  for (const Shape shape : {Shape{1, 1}, Shape{5, 37}, Shape{3, 3072}, Shape{1, 150528}, Shape{5, 50000}, Shape{40, 3072}}) {
    for (const auto& operation : kOperations) {
      Result reference;
      test::on_every_instruction_set([&](const char*) {
        for (const std::uint32_t count : {1u, 2u, 3u, 8u}) {
          EXPECT(api().set_threads(count) == SIGNSTEP_OK);
          Batch b(shape.count, shape.elements, 42);
          operation(b);
          if (reference.empty()) reference = written(b);
          EXPECT(test::same_bits(written(b), reference));
        }
      });
    }
  }
  api().set_threads(threads);
}

TEST("a sample's result does not depend on the batch it is in") {
  for (const auto& operation : kOperations) {
    Batch whole(4, 20001, 8);
    const std::vector<float> x = whole.x.copy(), x0 = whole.x0.copy(), g = whole.g.copy(), m = whole.momentum.copy();
    operation(whole);
    const Result result = whole.x.copy();
    for (std::size_t s = 0; s < 4; ++s) {
      Batch one(1, 20001, 1);
      const auto row = [&](const std::vector<float>& all) {
        const auto begin = all.begin() + static_cast<std::ptrdiff_t>(s * 20001);
        return std::vector<float>(begin, begin + 20001);
      };
      one.x.assign(row(x));
      one.x0.assign(row(x0));
      one.g.assign(row(g));
      one.momentum.assign(row(m));
      one.alpha[0] = whole.alpha[s];
      one.eps[0] = whole.eps[s];
      one.indices[0] = whole.indices[s];
      operation(one);
      EXPECT(test::same_bits(one.x.copy(), row(result)));
    }
  }
}
