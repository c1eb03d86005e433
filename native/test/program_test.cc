// The plan file: what is written is read back, and nothing else is.
#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <random>
#include <string>

#include "../core/program/crc32.h"
#include "../core/program/gemm_epilogue.h"
#include "../core/program/operands.h"
#include "../core/program/plan_layout.h"
#include "../core/program/step_shape.h"
#include "../cuda/kernels/kernels.h"
#include "harness.h"
#include "plan_writer.h"
#include "small_program.h"

using namespace signstep::program;
using test::seal_plan;
using test::SmallProgram;
using test::write_plan;

namespace {

// The message with which the plan is refused; empty where it is taken.
std::string refusal(const std::vector<std::uint8_t>& plan) {
  try {
    (void)parse_plan(plan.data(), plan.size());
    return "";
  } catch (const PlanError& error) {
    return error.message.empty() ? "no message" : error.message;
  }
}
bool mentions(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

// What a change of the small program leads to.
template <class Change>
std::string refusal_after(Change change) {
  SmallProgram small;
  change(small.program);
  return refusal(write_plan(small.program));
}

}  // namespace

TEST("CRC-32 is that of IEEE 802.3 at every length") {
  const char* digits = "123456789";
  EXPECT(crc32(reinterpret_cast<const std::uint8_t*>(digits), 9) == 0xCBF43926u);
  std::vector<std::uint8_t> bytes(67);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * 73 + 11);
  for (std::size_t size = 0; size <= bytes.size(); ++size) {
    std::uint32_t slow = ~0u;
    for (std::size_t i = 0; i < size; ++i) {
      slow ^= bytes[i];
      for (int bit = 0; bit < 8; ++bit) slow = (slow >> 1) ^ ((slow & 1u) != 0 ? 0xEDB88320u : 0u);
    }
    EXPECT(crc32(bytes.data(), size) == ~slow);
  }
}

TEST("a plan is read back as it was written") {
  const SmallProgram small;
  const auto plan = write_plan(small.program);
  const Program read = parse_plan(plan.data(), plan.size());
  EXPECT(std::memcmp(&read.header, &small.program.header, sizeof read.header) == 0);
  EXPECT(read.buffers.size() == small.program.buffers.size());
  for (std::size_t i = 0; i < read.buffers.size(); ++i) {
    const Buffer &a = read.buffers[i], &b = small.program.buffers[i];
    EXPECT(a.type == b.type && a.storage == b.storage && a.elements == b.elements && a.rows == b.rows && a.columns == b.columns &&
           a.data == b.data);
  }
  EXPECT(read.forward.size() == small.program.forward.size());
  EXPECT(read.gradient.size() == small.program.gradient.size());
  const auto same = [](const Step& a, const Step& b) {
    return a.op == b.op && std::memcmp(a.buffers, b.buffers, sizeof a.buffers) == 0 && std::memcmp(a.ints, b.ints, sizeof a.ints) == 0 &&
           std::memcmp(a.floats, b.floats, sizeof a.floats) == 0 && std::memcmp(a.name, b.name, sizeof a.name) == 0;
  };
  for (std::size_t i = 0; i < read.gradient.size(); ++i) EXPECT(same(read.gradient[i], small.program.gradient[i]));
  EXPECT(read.data_bytes == small.program.data_bytes && std::memcmp(read.data, small.program.data, read.data_bytes) == 0);
}

TEST("a plan cut off anywhere is refused") {
  const SmallProgram small;
  const auto plan = write_plan(small.program);
  for (std::size_t size = 0; size < plan.size(); ++size) {
    // A block of its own, so that a sanitizer sees what is read beyond it.
    const std::vector<std::uint8_t> cut(plan.begin(), plan.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT(!refusal(cut).empty());
  }
  auto longer = plan;
  longer.push_back(0);
  EXPECT(mentions(refusal(longer), "size"));
  EXPECT(mentions(refusal({}), "magic"));
}

TEST("a plan cut off and sealed again is refused all the same") {
  const SmallProgram small;
  const auto plan = write_plan(small.program);
  for (std::size_t size = kBuffersAt; size < plan.size(); ++size) {
    std::vector<std::uint8_t> cut(plan.begin(), plan.begin() + static_cast<std::ptrdiff_t>(size));
    const std::uint64_t stated = size;
    std::memcpy(cut.data() + kSizeAt, &stated, sizeof stated);
    seal_plan(cut);
    EXPECT(!refusal(cut).empty());
  }
}

TEST("any flipped bit is noticed") {
  const SmallProgram small;
  auto plan = write_plan(small.program);
  for (std::size_t i = 0; i < plan.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      plan[i] = static_cast<std::uint8_t>(plan[i] ^ (1u << bit));
      EXPECT(!refusal(plan).empty());
      plan[i] = static_cast<std::uint8_t>(plan[i] ^ (1u << bit));
    }
  EXPECT(refusal(plan).empty());
}

TEST("random damage under a right checksum is refused or harmless, never read out of bounds") {
  const SmallProgram small;
  const auto plan = write_plan(small.program);
  std::mt19937 random(7);
  int refused = 0;
  for (int trial = 0; trial < 20000; ++trial) {
    auto bad = plan;
    for (int n = 0; n < 1 + trial % 3; ++n) {
      const std::size_t at = kCountsAt + random() % (plan.size() - small.program.data_bytes - kCountsAt);
      bad[at] = static_cast<std::uint8_t>(trial % 2 == 0 ? random() : 0xFF);
    }
    seal_plan(bad);
    const std::string why = refusal(bad);
    refused += why.empty() ? 0 : 1;
    if (!why.empty()) continue;
    const Program program = parse_plan(bad.data(), bad.size());
    for (const std::int64_t batch : {1, 3, 7}) {
      try {
        (void)plan_memory(program, program.forward, batch, 2);
        (void)plan_memory(program, program.gradient, batch, 2);
      } catch (const PlanError&) {
      }
    }
  }
  EXPECT(refused > 1000);
}

TEST("another version is refused by name, with the cure") {
  const SmallProgram small;
  auto plan = write_plan(small.program);
  plan[kVersionAt] = 1;
  const std::string why = refusal(plan);
  EXPECT(mentions(why, "version: expected 2, found 1") && mentions(why, "compile"));
  plan = write_plan(small.program);
  plan[0] = 's';
  EXPECT(mentions(refusal(plan), "SIGNPLAN"));
}

TEST("wild indices and sizes are refused by name") {
  EXPECT(refusal_after([](Program&) {}).empty());
  EXPECT(mentions(refusal_after([](Program& p) { p.gradient[0].buffers[0] = 99; }), "gradient step 0 (gemm 'embed'): a: expected a buffer below 15"));
  EXPECT(mentions(refusal_after([](Program& p) { p.forward[0].buffers[0] = -2; }), "found -2"));
  EXPECT(mentions(refusal_after([](Program& p) { p.forward[0].buffers[2] = kNone; }), "out: expected a buffer, found none"));
  EXPECT(mentions(refusal_after([](Program& p) { p.forward[0].buffers[6] = 3; }), "operand 6"));
  EXPECT(mentions(refusal_after([](Program& p) { p.forward[0].buffers[2] = 7; }), "an activation to write to"));
  EXPECT(mentions(refusal_after([](Program& p) { p.forward[0].op = static_cast<Op>(77); }), "op: expected an operation, found 77"));
  EXPECT(mentions(refusal_after([](Program& p) { p.forward[0].ints[0] = -5; }), "at least 40 elements at batch 1, found 32"));
  EXPECT(mentions(refusal_after([](Program& p) { p.forward[0].ints[0] = 6; }), "found 32"));
  EXPECT(mentions(refusal_after([](Program& p) { p.forward[0].ints[0] = std::numeric_limits<std::int64_t>::min(); }), "2^48"));
  EXPECT(mentions(refusal_after([](Program& p) { p.forward[0].ints[0] = std::int64_t{1} << 62; }), "2^48"));
  EXPECT(mentions(refusal_after([](Program& p) { p.forward[0].ints[1] = 0; }), "n: expected 1 to"));
  EXPECT(mentions(refusal_after([](Program& p) { p.forward[0].ints[3] = 12; }), "epilogue"));
  EXPECT(mentions(refusal_after([](Program& p) { p.forward[0].ints[3] = 11; }), "out: expected float32, found value"));
  EXPECT(mentions(refusal_after([](Program& p) { p.forward[0].ints[4] = 4, p.forward[0].ints[5] = 5; }), "a: expected at least"));
  EXPECT(mentions(refusal_after([](Program& p) { p.forward[1].floats[0] = std::numeric_limits<float>::quiet_NaN(); }), "NaN"));
  EXPECT(mentions(refusal_after([](Program& p) { p.forward[1].floats[0] = -1; }), "epsilon"));
  EXPECT(mentions(refusal_after([](Program& p) { p.forward[2].ints[0] = 30; }), "function"));
  EXPECT(mentions(refusal_after([](Program& p) { p.forward[2].ints[1] = 7; }), "rank"));
  EXPECT(mentions(refusal_after([](Program& p) { p.forward[2].ints[8] = 7; }), "a: expected at least"));
  EXPECT(mentions(refusal_after([](Program& p) { p.forward[2].ints[26] = 1; }), "a: expected at least 25 elements at batch 1, found 24"));
  EXPECT(mentions(refusal_after([](Program& p) { p.forward[2].ints[0] = 40; }), "b: expected a buffer, found none"));
  EXPECT(mentions(refusal_after([](Program& p) { std::memset(p.forward[2].name, 'x', kNameBytes); }), "name"));
  EXPECT(mentions(refusal_after([](Program& p) { p.gradient[4].ints[1] = 1; }), "loss"));
  EXPECT(refusal_after([](Program& p) { p.forward[0].ints[10] = 1; }).empty());
  EXPECT(mentions(refusal_after([](Program& p) { p.forward[0].ints[10] = 1, p.forward[0].ints[0] = 4; }), "multiple of the batch"));
  EXPECT(mentions(refusal_after([](Program& p) { p.gradient[5].buffers[1] = 6; }), "b: expected a constant"));
}

TEST("buffers and header are checked") {
  EXPECT(mentions(refusal_after([](Program& p) { p.buffers[7].data += 4 * 400; }), "buffer 7 data"));
  EXPECT(mentions(refusal_after([](Program& p) { p.buffers[7].data = ~0ull - 3; }), "buffer 7 data"));
  EXPECT(mentions(refusal_after([](Program& p) { p.buffers[7].data = 2; }), "buffer 7 data"));
  EXPECT(mentions(refusal_after([](Program& p) { p.buffers[7].elements = -48; }), "of a constant"));
  EXPECT(mentions(refusal_after([](Program& p) { p.buffers[7].elements = std::int64_t{1} << 61; }), "2^48"));
  EXPECT(mentions(refusal_after([](Program& p) { p.buffers[8].rows = std::int64_t{1} << 33; }), "rows x columns"));
  EXPECT(mentions(refusal_after([](Program& p) { p.buffers[3].type = static_cast<ElementType>(3); }), "buffer 3 type"));
  EXPECT(mentions(refusal_after([](Program& p) { p.buffers[0].elements = -33; }), "input: expected 32 elements an image"));
  EXPECT(mentions(refusal_after([](Program& p) { p.header.patch = 3; }), "patch"));
  EXPECT(mentions(refusal_after([](Program& p) { p.header.classes = 4; }), "logits"));
  EXPECT(mentions(refusal_after([](Program& p) { p.header.input = 15; }), "input: expected a buffer below 15"));
  EXPECT(mentions(refusal_after([](Program& p) { p.header.loss = static_cast<Loss>(4); }), "loss"));
  EXPECT(mentions(refusal_after([](Program& p) { p.header.loss = Loss::kl, p.header.targeted = 1; }), "KL has no targeted form"));
  EXPECT(mentions(refusal_after([](Program& p) { p.header.width = 0; }), "width"));
}

TEST("NaN among the weights is refused") {
  SmallProgram small;
  small.data[50] = std::numeric_limits<float>::quiet_NaN();
  EXPECT(mentions(refusal(write_plan(small.program)), "NaN at element 2"));
}

TEST("a program that reads what was not written, or leaves its results out, is refused") {
  EXPECT(mentions(refusal_after([](Program& p) { p.forward.erase(p.forward.begin() + 1); }), "a buffer written before, found buffer 4"));
  EXPECT(mentions(refusal_after([](Program& p) { p.forward.pop_back(); }), "one that writes the logits"));
  EXPECT(mentions(refusal_after([](Program& p) { p.gradient.pop_back(); }), "image gradient"));
  EXPECT(mentions(refusal_after([](Program& p) { p.gradient.clear(); }), "one loss, found 0"));
  EXPECT(mentions(refusal_after([](Program& p) { p.forward[2].buffers[1] = p.forward[2].buffers[0]; }), "written before"));
}

namespace {

// The first product as a convolution of one tap: pictures of 2 x 2 pixels and 8 channels to 6.
void make_convolution(Step& step) {
  const Dim ints[] = {-1, 6, 0, 1, 2, 2, 8, 2, 2, 1, 1, 0, 0, 1, 1, 1, 1, 2, 2, 1, 1, 0, 0};
  step.op = Op::convolution;
  std::fill(step.ints, step.ints + kInts, 0);
  std::copy(std::begin(ints), std::end(ints), step.ints);
}
template <class Change>
std::string convolution_refused(Change change) {
  return refusal_after([&](Program& p) {
    make_convolution(p.forward[0]);
    change(p.forward[0]);
  });
}

}  // namespace

TEST("a convolution may look beyond its picture but writes within the grid it names") {
  EXPECT(convolution_refused([](Step&) {}).empty());
  EXPECT(convolution_refused([](Step& s) { s.ints[11] = -1, s.ints[12] = -7; }).empty());
  EXPECT(convolution_refused([](Step& s) { s.ints[7] = 1, s.ints[19] = 2, s.ints[21] = 1; }).empty());
  EXPECT(mentions(convolution_refused([](Step& s) { s.ints[21] = 1; }), "grid: expected positions below 2, found 2"));
  EXPECT(mentions(convolution_refused([](Step& s) { s.ints[20] = 2; }), "grid: expected positions below 2, found 2"));
  EXPECT(mentions(convolution_refused([](Step& s) { s.ints[22] = -1; }), "first of the grid"));
  EXPECT(mentions(convolution_refused([](Step& s) { s.ints[17] = 3; }), "out: expected at least 36 elements at batch 1, found 24"));
  EXPECT(mentions(convolution_refused([](Step& s) { s.ints[4] = 3; }), "a: expected at least 48 elements at batch 1, found 32"));
  EXPECT(mentions(convolution_refused([](Step& s) { s.ints[13] = 2; }), "b: expected 6 x 16 elements, found 48"));
  EXPECT(mentions(convolution_refused([](Step& s) { s.ints[15] = 0; }), "step_y: expected 1 to"));
  EXPECT(mentions(convolution_refused([](Step& s) { s.ints[9] = std::numeric_limits<std::int32_t>::max(), s.ints[11] = 1; }), "no pixel beyond"));
  EXPECT(mentions(convolution_refused([](Step& s) { s.ints[2] = 12; }), "epilogue"));
  EXPECT(mentions(convolution_refused([](Step& s) { s.ints[2] = 11; }), "out: expected float32, found value"));
  EXPECT(mentions(convolution_refused([](Step& s) { s.ints[0] = 1; }), "a multiple of the batch"));
  EXPECT(mentions(convolution_refused([](Step& s) { s.ints[2] = 10; }), "aux: expected a buffer, found none"));
  EXPECT(mentions(convolution_refused([](Step& s) { s.buffers[7] = s.buffers[3]; }), "operand 7"));
}

TEST("the residual of a convolution may be what it writes, its input may not") {
  const auto in_place = [](int slot) {
    return refusal_after([&](Program& p) {
      Step step = p.gradient[0];
      make_convolution(step);
      p.gradient.insert(p.gradient.begin() + 1, step);
      p.gradient[1].buffers[slot] = step.buffers[2];
    });
  };
  EXPECT(in_place(5).empty());
  EXPECT(mentions(in_place(0), "out: expected another buffer than a, found the same") || mentions(in_place(0), "a: expected at least"));
}

TEST("a pool has an element for every position of its window, and its backward one for every pixel") {
  const auto pool = [](Op op, std::initializer_list<std::int32_t> buffers, Dim rows, Dim whole = 0) {
    return refusal_after([&](Program& p) {
      Step step = p.forward[2];
      std::fill(step.buffers, step.buffers + kBuffers, kNone);
      std::copy(buffers.begin(), buffers.end(), step.buffers);
      const Dim ints[] = {-1, 1, 2, 2, 6, rows, rows, 1, 1, 0, 0, 2, 2, 1, 1, whole};
      std::fill(step.ints, step.ints + kInts, 0);
      std::copy(std::begin(ints), std::end(ints), step.ints);
      step.op = op;
      p.forward.insert(p.forward.begin() + 3, step);
    });
  };
  // Buffers 3 and 4 hold 24 elements an image, as 2 x 2 x 6; 6 too.
  EXPECT(pool(Op::max_pool, {6, 3}, 2).empty());
  EXPECT(pool(Op::max_pool_backward, {6, 3, 4}, 1).empty());
  EXPECT(pool(Op::average_pool, {6, 3}, 1, 1).empty());
  EXPECT(pool(Op::average_pool_backward, {6, 4}, 2).empty());
  EXPECT(mentions(pool(Op::max_pool, {6, 3}, 3), "out: expected at least 54 elements at batch 1, found 24"));
  EXPECT(mentions(pool(Op::max_pool_backward, {6, 3, 4}, 3), "dy: expected at least 54"));
  EXPECT(mentions(pool(Op::average_pool_backward, {6, 4}, 3), "dy: expected at least 54"));
  EXPECT(mentions(pool(Op::average_pool, {6, 3}, 2, 2), "whole"));
  EXPECT(mentions(pool(Op::max_pool, {6, 6}, 2), "another buffer than in"));
  EXPECT(mentions(pool(Op::max_pool_backward, {6, 3}, 2), "dy: expected a buffer, found none"));
}

TEST("indices of a gather are looked at one by one") {
  const auto with_index = [](std::int32_t index) {
    SmallProgram small;
    Program& p = small.program;
    const std::uint64_t at = small.data.size();
    for (const std::int32_t value : {0, index}) {
      float bits;
      std::memcpy(&bits, &value, 4);
      small.data.push_back(bits);
    }
    p.data = reinterpret_cast<const std::uint8_t*>(small.data.data());
    p.data_bytes = 4 * small.data.size();
    p.buffers.push_back({ElementType::int32, Storage::as_is, 2, 0, 0, 4 * at});
    p.buffers.push_back({ElementType::value, Storage::activation, -2 * 6, 0, 0, 0});
    Step gather = p.forward[2];
    gather.op = Op::gather;
    gather.buffers[0] = 16, gather.buffers[1] = 4, gather.buffers[2] = 15;
    for (Dim& i : gather.ints) i = 0;
    gather.ints[0] = -1, gather.ints[1] = 4, gather.ints[2] = 6, gather.ints[3] = 2;
    p.forward.insert(p.forward.begin() + 2, gather);
    return refusal(write_plan(p));
  };
  EXPECT(with_index(3).empty());
  EXPECT(mentions(with_index(4), "indices: expected 0 to 3, found 4"));
  EXPECT(mentions(with_index(-1), "found -1"));
}

TEST("a LayerNorm folded into products is checked: sizes of statistics and dots, row sums, and what an epilogue can leave") {
  // The first product leaves statistics of its rows, the head multiplies rows that it normalises.
  const auto after = [](auto change) {
    return refusal_after([&](Program& p) {
      const auto rows = p.forward[0].ints[0];
      p.buffers.push_back({ElementType::float32, Storage::activation, 2 * rows, 0, 0, 0});
      const auto statistics = static_cast<std::int32_t>(p.buffers.size() - 1);
      p.buffers.push_back({ElementType::float32, Storage::row_sums, p.forward[0].ints[1], p.forward[0].ints[1], p.forward[0].ints[2], 0});
      for (std::vector<Step>* steps : {&p.forward, &p.gradient}) (*steps)[0].buffers[10] = statistics;
      change(p, statistics);
    });
  };
  EXPECT(after([](Program&, std::int32_t) {}).empty());
  EXPECT(mentions(after([](Program& p, std::int32_t s) { p.buffers[static_cast<std::size_t>(s)].elements += 1; }), "statistics"));
  EXPECT(mentions(after([](Program& p, std::int32_t) { p.forward[0].ints[3] = 1; }), "operand 10"));
  EXPECT(mentions(after([](Program& p, std::int32_t s) { p.forward[0].buffers[8] = s; p.forward[0].buffers[10] = kNone; }), "written before"));
  EXPECT(mentions(after([](Program& p, std::int32_t s) { p.forward[0].buffers[9] = s + 1; }), "column_sums: expected norm_statistics"));
  EXPECT(mentions(after([](Program& p, std::int32_t) { p.forward[0].ints[11] = 2; }), "rms"));
  EXPECT(mentions(after([](Program& p, std::int32_t s) { p.buffers[static_cast<std::size_t>(s + 1)].rows += 1; }), "as many sums as rows"));
  EXPECT(mentions(after([](Program& p, std::int32_t s) { p.buffers[static_cast<std::size_t>(s + 1)].columns = std::int64_t{1} << 40; }), "buffer"));
  EXPECT(mentions(after([](Program& p, std::int32_t s) { p.buffers[static_cast<std::size_t>(s + 1)].type = ElementType::value; }), "float32"));
  EXPECT(mentions(after([](Program& p, std::int32_t) { p.gradient[7].buffers[2] = kNone; }), "rstd: expected either it or statistics, found neither"));
}

TEST("a step says in words what it works on, at the batch it runs with") {
  const auto said = [](Op op, std::initializer_list<Dim> ints) {
    Step step{};
    step.op = op;
    std::copy(ints.begin(), ints.end(), step.ints);
    return step_shape(step, 4);
  };
  EXPECT(said(Op::gemm, {-196, 192, 768}) == "rows 784, n 192, k 768");
  EXPECT(said(Op::batched_matmul, {5, 6, 7, -1, 3, 1}) == "m 5, n 6, k 7, matrices 4 x 3 x 1");
  EXPECT(said(Op::elementwise, {0, 3, -1, 8, 2}) == "4 x 8 x 2");
  EXPECT(said(Op::copy, {2, -3, 5}) == "12 x 5");
  EXPECT(said(Op::max_pool, {-1, 1, 9, 8, 64}) == "images 4, height 9, width 8, channels 64");
}

TEST("the numbers of the launchers' enumerations are those that the plan is checked with") {
  using signstep::kernels::Epilogue;
  using signstep::kernels::Function;
  using signstep::kernels::Reduction;
  EXPECT(static_cast<Dim>(Epilogue::store) == kStore && static_cast<Dim>(Epilogue::store_float) == kStoreFloat);
  EXPECT(static_cast<Dim>(Epilogue::norm_backward) == kNormBackward && is_epilogue(kNormBackward));
  EXPECT(static_cast<Dim>(Epilogue::swiglu) == kSwiglu && static_cast<Dim>(Epilogue::swiglu_backward) == kSwigluBackward);
  EXPECT(!is_epilogue(static_cast<Dim>(Epilogue::step_linf)));  // the engine's own, of no plan
  EXPECT(kStatisticsColumns == signstep::kernels::kStatisticsColumns);
  for (const Epilogue forward : {Epilogue::gelu_erf, Epilogue::gelu_tanh, Epilogue::quick_gelu, Epilogue::silu, Epilogue::relu, Epilogue::swiglu})
    EXPECT(writes_aux(static_cast<Dim>(forward)) && !reads_aux(static_cast<Dim>(forward)));
  for (const Epilogue backward : {Epilogue::gelu_erf_backward, Epilogue::gelu_tanh_backward, Epilogue::quick_gelu_backward,
                                  Epilogue::silu_backward, Epilogue::relu_backward, Epilogue::swiglu_backward})
    EXPECT(reads_aux(static_cast<Dim>(backward)) && !writes_aux(static_cast<Dim>(backward)));
  const auto taken = [](Function function, int inputs) {
    return refusal_after([&](Program& p) {
             for (std::vector<Step>* steps : {&p.forward, &p.gradient}) {
               Step& step = (*steps)[2];
               step.ints[0] = static_cast<Dim>(function);
               for (int i = 1; i < inputs; ++i) {
                 step.buffers[1 + i] = step.buffers[1];
                 for (int axis = 0; axis < 2; ++axis) step.ints[8 + 6 * i + axis] = step.ints[8 + axis];
               }
             }
           }).empty();
  };
  EXPECT(taken(Function::identity, 1) && taken(Function::reciprocal_square_root, 1));
  EXPECT(taken(Function::add, 2) && taken(Function::equal, 2));
  EXPECT(taken(Function::gelu_erf_backward, 2) && taken(Function::relu_backward, 2));
  EXPECT(taken(Function::select, 3) && taken(Function::multiply_add, 3));
  EXPECT(static_cast<Dim>(Reduction::product) == 6);
}
