// attention() and attention_backward() against float64, in every form of the kernels.
#include <algorithm>
#include <limits>
#include <memory>

#include "../../cuda/kernels/attention_launch.h"
#include "device_case.h"

#if defined(SIGNSTEP_SIM)
#include "../../sim/statistics.h"
#endif

using namespace device_case;
using namespace signstep::kernels;

namespace {

constexpr Precision kPrecisions[] = {Precision::bf16, Precision::fp16, Precision::float32};

// Where q, k, v and out lie. packed: [image, row, (q k v), head, column], as one projection leaves them, out [image, row, head, column].
// separate: four arrays [image, head, row, column], the only layouts for queries of another length than keys. odd: as separate, but nothing begins on 16 bytes.
enum class Layout { packed, separate, odd };

struct Size {
  std::int32_t images, heads, length, head_size;
  std::int32_t queries = 0;  // 0: length
  std::int32_t query_rows() const { return queries > 0 ? queries : length; }
  // Of all heads together: rows of queries, rows of keys.
  std::size_t rows() const { return static_cast<std::size_t>(images * heads * query_rows()); }
  std::size_t key_rows() const { return static_cast<std::size_t>(images * heads * length); }
  std::size_t elements() const { return rows() * static_cast<std::size_t>(head_size); }
};

// Arrays [image, head, row, column], densely.
struct Tensors {
  std::vector<float> q, k, v, dout;
};
struct Expected {
  std::vector<double> out, lse, dq, dk, dv;
};

// The definition, in F; P, dS and out rounded to `precision` where they are stored. F = double and float32: exact. F = float: the plain
// version.
template <class F>
Expected definition(const Size& size, const Tensors& in, float scale, Precision precision) {
  const auto length = static_cast<std::size_t>(size.length), width = static_cast<std::size_t>(size.head_size);
  const auto round = [&](F x) { return precision == Precision::float32 ? x : static_cast<F>(rounded(static_cast<float>(x), precision)); };
  const auto queries = static_cast<std::size_t>(size.query_rows());
  Expected e;
  for (auto* array : {&e.out, &e.dq}) array->assign(size.elements(), 0.0);
  for (auto* array : {&e.dk, &e.dv}) array->assign(size.key_rows() * width, 0.0);
  e.lse.assign(size.rows(), 0.0);
  const auto dot = [&](const float* a, const float* b) {
    F sum = 0;
    for (std::size_t c = 0; c < width; c++) sum += static_cast<F>(a[c]) * static_cast<F>(b[c]);
    return sum;
  };
  std::vector<F> p(length), ds(length), dq(width), out(width);
  for (std::size_t h = 0; h < static_cast<std::size_t>(size.images * size.heads); h++) {
    const std::size_t at = h * length * width;
    std::vector<F> dk(length * width), dv(length * width);
    for (std::size_t r = 0; r < queries; r++) {
      const std::size_t row = (h * queries + r) * width;
      const float* const q = &in.q[row];
      const float* const dout = &in.dout[row];
      F maximum = -std::numeric_limits<F>::infinity(), sum = 0;
      for (std::size_t j = 0; j < length; j++) {
        p[j] = static_cast<F>(scale) * dot(q, &in.k[at + j * width]);
        maximum = std::max(maximum, p[j]);
      }
      for (std::size_t j = 0; j < length; j++) sum += p[j] = std::exp(p[j] - maximum);
      e.lse[h * queries + r] = static_cast<double>(maximum + std::log(sum));
      std::fill(out.begin(), out.end(), F{0});
      for (std::size_t j = 0; j < length; j++) {
        p[j] /= sum;
        for (std::size_t c = 0; c < width; c++) out[c] += round(p[j]) * static_cast<F>(in.v[at + j * width + c]);
      }
      F delta = 0;
      for (std::size_t c = 0; c < width; c++) {
        delta += static_cast<F>(dout[c]) * round(out[c]);
        e.out[row + c] = static_cast<double>(round(out[c]));
      }
      std::fill(dq.begin(), dq.end(), F{0});
      for (std::size_t j = 0; j < length; j++) {
        ds[j] = round(p[j] * (dot(dout, &in.v[at + j * width]) - delta));
        for (std::size_t c = 0; c < width; c++) {
          dq[c] += ds[j] * static_cast<F>(in.k[at + j * width + c]);
          dk[j * width + c] += ds[j] * static_cast<F>(q[c]);
          dv[j * width + c] += round(p[j]) * static_cast<F>(dout[c]);
        }
      }
      for (std::size_t c = 0; c < width; c++) e.dq[row + c] = static_cast<double>(round(static_cast<F>(scale) * dq[c]));
    }
    for (std::size_t i = 0; i < length * width; i++) {
      e.dk[at + i] = static_cast<double>(round(static_cast<F>(scale) * dk[i]));
      e.dv[at + i] = static_cast<double>(round(dv[i]));
    }
  }
  return e;
}

std::vector<float> all_rounded(std::vector<float> values, Precision precision) {
  for (float& value : values) value = rounded(value, precision);
  return values;
}

// Means that are not zero, a channel of v and one of k 30 times as large.
Tensors random_tensors(const Size& size, std::mt19937& random, Precision precision, float query_deviation = 1.0f) {
  const std::size_t rows = size.rows(), keys = size.key_rows(), width = static_cast<std::size_t>(size.head_size);
  Tensors t;
  t.q = all_rounded(normal(rows, width, random, 0.2f, query_deviation), precision);
  t.k = all_rounded(normal(keys, width, random, -0.3f, 1.0f, size.head_size), precision);
  t.v = all_rounded(normal(keys, width, random, 0.5f, 1.0f, size.head_size), precision);
  t.dout = all_rounded(normal(rows, width, random, 0.1f, 1.0f), precision);
  return t;
}

// The operands on the device in a layout, results poisoned.
class Operands {
 public:
  Operands(const Size& size, const Tensors& in, Layout layout, Precision precision, float scale)
      : size_(size), precision_(precision), lse_(size.rows()) {
    const std::int64_t width = size.head_size, row = size.heads * width;
    if (layout == Layout::packed) {
      q_at_ = {0, size.length * 3 * row, width, 3 * row};
      k_at_ = {row, size.length * 3 * row, width, 3 * row};
      v_at_ = {2 * row, size.length * 3 * row, width, 3 * row};
      out_at_ = {0, size.length * row, width, row};
    } else {
      const std::int64_t pitch = layout == Layout::odd ? width + 3 : width;
      const auto laid_out = [&](std::int64_t rows) -> Strided {
        return {layout == Layout::odd ? 5 : 0, size.heads * rows * pitch, rows * pitch, pitch};
      };
      q_at_ = out_at_ = laid_out(size.query_rows());
      k_at_ = v_at_ = laid_out(size.length);
    }
    const bool shared = layout == Layout::packed;
    const std::size_t keys = shared ? 0 : end(k_at_);
    std::vector<float> q(end(q_at_)), k(keys), v(keys), dout(end(out_at_));
    place(q, q_at_, size.query_rows(), in.q);
    place(shared ? q : k, k_at_, size.length, in.k);
    place(shared ? q : v, v_at_, size.length, in.v);
    place(dout, out_at_, size.query_rows(), in.dout);
    arrays_.push_back(std::make_unique<Values>(q, precision));
    for (const std::vector<float>* array : {&k, &v}) arrays_.push_back(shared ? nullptr : std::make_unique<Values>(*array, precision));
    arrays_.push_back(std::make_unique<Values>(dout, precision));
    gradients_.push_back(std::make_unique<Values>(q.size(), precision));
    for (int i = 1; i < 3; i++) gradients_.push_back(shared ? nullptr : std::make_unique<Values>(keys, precision));
    out_ = std::make_unique<Values>(dout.size(), precision);
    const auto data = [](const std::vector<std::unique_ptr<Values>>& all, std::size_t i) { return (all[i] ? all[i] : all[0])->data(); };
    forward = {precision, data(arrays_, 0), data(arrays_, 1), data(arrays_, 2), out_->data(), lse_.data(),    q_at_, k_at_,
               v_at_,     out_at_,          size.images,      size.heads,       size.length,  size.head_size, scale, nullptr,
               size.queries};
    backward = {forward, arrays_[3]->data(), data(gradients_, 0), data(gradients_, 1), data(gradients_, 2)};
  }

  void set_live(const std::int32_t* live) { forward.live = backward.forward.live = live; }
  std::vector<float> out() const { return taken(*out_, out_at_, size_.query_rows()); }
  std::vector<float> lse() const { return lse_.host(); }
  std::vector<float> dq() const { return taken(*gradients_[0], q_at_, size_.query_rows()); }
  std::vector<float> dk() const { return taken(*(gradients_[1] ? gradients_[1] : gradients_[0]), k_at_, size_.length); }
  std::vector<float> dv() const { return taken(*(gradients_[2] ? gradients_[2] : gradients_[0]), v_at_, size_.length); }
  // Everything that was written, gaps of the layout included.
  std::vector<float> written() const {
    std::vector<float> all = out_->host();
    for (const auto& gradient : gradients_) {
      if (!gradient) continue;
      const std::vector<float> values = gradient->host();
      all.insert(all.end(), values.begin(), values.end());
    }
    const std::vector<float> l = lse();
    all.insert(all.end(), l.begin(), l.end());
    return all;
  }

  Attention forward;
  AttentionBackward backward;

 private:
  std::size_t end(const Strided& at) const { return static_cast<std::size_t>(8 + size_.images * at.image); }
  template <class Body>
  void each(const Strided& at, std::int64_t rows, Body&& body) const {
    std::size_t dense = 0;
    for (std::int64_t i = 0; i < size_.images; i++)
      for (std::int64_t h = 0; h < size_.heads; h++)
        for (std::int64_t r = 0; r < rows; r++)
          for (std::int64_t c = 0; c < size_.head_size; c++)
            body(static_cast<std::size_t>(at.offset + i * at.image + h * at.head + r * at.row + c), dense++);
  }
  void place(std::vector<float>& to, const Strided& at, std::int32_t rows, const std::vector<float>& from) const {
    each(at, rows, [&](std::size_t strided, std::size_t dense) { to[strided] = from[dense]; });
  }
  std::vector<float> taken(const Values& values, const Strided& at, std::int32_t rows) const {
    const std::vector<float> all = values.host();
    std::vector<float> out(static_cast<std::size_t>(size_.images * size_.heads * rows * size_.head_size));
    each(at, rows, [&](std::size_t strided, std::size_t dense) { out[dense] = all[strided]; });
    return out;
  }

  Size size_;
  Precision precision_;
  Strided q_at_, k_at_, v_at_, out_at_;
  std::vector<std::unique_ptr<Values>> arrays_, gradients_;
  std::unique_ptr<Values> out_;
  Array<float> lse_;
};

const AttentionDevice kLarge{132, 227 * 1024};

void run(Operands& operands, BackwardForm form = BackwardForm::automatic, const AttentionDevice& device = kLarge) {
  attention(operands.forward, device, nullptr);
  attention_backward(operands.backward, device, form, nullptr);
}

// Twice what the plain version loses in the same precision. Gradients: and what P loses where it is recomputed from lse in float32, which
// the plain version, with the largest score at hand, does not.
bool close(const char* what, const Size& size, const std::vector<float>& got, const std::vector<double>& exact,
           const std::vector<double>& plain, double largest_lse = 0) {
  const double error = relative_error(got, exact), limit = relative_error(std::vector<float>(plain.begin(), plain.end()), exact);
  if (error <= 2 * limit + 2e-7 + 0x1p-24 * largest_lse) return true;
  std::printf("  %s, length %d, head size %d: error %.3g, plain %.3g\n", what, size.length, size.head_size, error, limit);
  return false;
}

void check(const Size& size, Layout layout, Precision precision, BackwardForm form, int schedules, std::mt19937& random,
           float query_deviation = 1.0f, float scale = 0.0f) {
  if (scale == 0.0f) scale = 1.0f / std::sqrt(static_cast<float>(size.head_size));
  const Tensors in = random_tensors(size, random, precision, query_deviation);
  const Expected exact = definition<double>(size, in, scale, Precision::float32), plain = definition<float>(size, in, scale, precision);
  double largest_lse = 0;
  for (const double lse : exact.lse) largest_lse = std::max(largest_lse, std::abs(lse));
  std::vector<float> first;
  under_schedules(
      [&](int) {
        Operands operands(size, in, layout, precision, scale);
        run(operands, form);
        const std::vector<float> written = operands.written();
        if (first.empty()) {
          first = written;
          EXPECT(close("out", size, operands.out(), exact.out, plain.out));
          EXPECT(relative_error(operands.lse(), exact.lse) < 2e-6);
          EXPECT(close("dq", size, operands.dq(), exact.dq, plain.dq, largest_lse));
          EXPECT(close("dk", size, operands.dk(), exact.dk, plain.dk, largest_lse));
          EXPECT(close("dv", size, operands.dv(), exact.dv, plain.dv, largest_lse));
        }
        EXPECT(test::same_bits(first, written));
      },
      schedules);
}

}  // namespace

TEST("attention serves every head size, whole chunks or not, within twice the error of the plain version, whatever the order of warps") {
  std::mt19937 random(1);
  for (const std::int32_t head_size : {8, 20, 32, 64, 80, 96, 128}) {
    for (const std::int32_t length : {5, 49, 65}) {
      for (const Precision precision : kPrecisions) {
        const Layout layout = (head_size + length) % 2 == 0 ? Layout::separate : Layout::packed;
        check({1, 1, length, head_size}, layout, precision, BackwardForm::split, length == 49 && head_size % 16 != 0 ? 4 : 1, random);
      }
    }
  }
  for (const std::int32_t head_size : {32, 64, 80, 128})
    check({1, 1, 49, head_size}, Layout::packed, Precision::bf16, BackwardForm::split, 4, random);
}

TEST("attention_backward in one kernel for dq, dk and dv") {
  std::mt19937 random(2);
  for (const Precision precision : {Precision::bf16, Precision::fp16}) {
    check({2, 2, 49, 32}, Layout::packed, precision, BackwardForm::fused, 4, random);
    check({1, 1, 65, 64}, Layout::separate, precision, BackwardForm::fused, 4, random);
    check({1, 1, 5, 24}, Layout::packed, precision, BackwardForm::fused, 1, random);
  }
  check({1, 1, 197, 64}, Layout::packed, Precision::bf16, BackwardForm::fused, 2, random);
  check({1, 1, 256, 48}, Layout::packed, Precision::fp16, BackwardForm::fused, 1, random);
}

TEST("attention over more rows than stay on chip") {
  std::mt19937 random(3);
  for (const Precision precision : kPrecisions) check({1, 1, 257, 32}, Layout::packed, precision, BackwardForm::automatic, 2, random);
  check({1, 1, 197, 96}, Layout::packed, Precision::bf16, BackwardForm::automatic, 1, random);
  check({1, 1, 577, 64}, Layout::separate, Precision::bf16, BackwardForm::automatic, 1, random);
  check({1, 1, 1025, 16}, Layout::packed, Precision::fp16, BackwardForm::automatic, 1, random);
}

TEST("attention of one query, or of any other number than there are keys") {
  std::mt19937 random(9);
  for (const Precision precision : kPrecisions) {
    check({3, 4, 197, 48, 1}, Layout::separate, precision, BackwardForm::automatic, 1, random);
    check({2, 3, 49, 64, 1}, Layout::separate, precision, BackwardForm::split, 4, random);
    check({8, 3, 17, 24, 1}, Layout::odd, precision, BackwardForm::automatic, 1, random);
    check({1, 1, 5, 20, 70}, Layout::separate, precision, BackwardForm::automatic, 1, random);
    check({1, 1, 40, 96, 33}, Layout::odd, precision, BackwardForm::automatic, 4, random);
    check({1, 2, 37, 32, 100}, Layout::separate, precision, BackwardForm::split, 1, random);
    check({1, 1, 2, 32, 3}, Layout::separate, precision, BackwardForm::automatic, 1, random);
    if (precision == Precision::float32) continue;
    check({2, 3, 49, 32, 1}, Layout::separate, precision, BackwardForm::fused, 4, random);
    check({1, 1, 21, 64, 70}, Layout::separate, precision, BackwardForm::fused, 1, random);
    check({1, 1, 100, 48, 33}, Layout::separate, precision, BackwardForm::fused, 4, random);
    if (precision == Precision::bf16) check({1, 1, 280, 80, 260}, Layout::separate, precision, BackwardForm::automatic, 1, random);
  }
}

TEST("attention reads and writes rows that begin anywhere") {
  std::mt19937 random(4);
  for (const Precision precision : kPrecisions) {
    check({2, 2, 17, 64}, Layout::odd, precision, BackwardForm::automatic, 4, random);
    check({1, 2, 33, 12}, Layout::odd, precision, BackwardForm::automatic, 1, random);
  }
}

TEST("attention stays finite and exact where scores are in the hundreds") {
  std::mt19937 random(5);
  for (const Precision precision : kPrecisions) check({1, 1, 80, 64}, Layout::packed, precision, BackwardForm::automatic, 1, random, 12.0f);
  check({1, 1, 80, 32}, Layout::packed, Precision::bf16, BackwardForm::fused, 1, random, 12.0f);
}

TEST("attention takes a negative scale") {
  std::mt19937 random(6);
  for (const Precision precision : kPrecisions)
    check({1, 1, 37, 32}, Layout::packed, precision, BackwardForm::automatic, 1, random, 1.0f, -0.2f);
}

TEST("attention gives the same bits however the work is cut") {
  std::mt19937 random(7);
  for (const Precision precision : {Precision::bf16, Precision::fp16}) {
    const Size size{1, 2, 100, 64};
    const Tensors in = random_tensors(size, random, precision);
    std::vector<float> first;
    for (const std::int32_t multiprocessors : {1, 3, 132}) {
      for (const BackwardForm form : {BackwardForm::fused, BackwardForm::split}) {
        Operands operands(size, in, Layout::packed, precision, 0.125f);
        run(operands, form, {multiprocessors, 227 * 1024});
        if (first.empty()) first = operands.written();
        EXPECT(test::same_bits(first, operands.written()));
      }
    }
  }
  // All keys in shared memory for 17 slabs in three rounds, or in four slots for three blocks.
  const Size size{1, 1, 257, 64};
  const Tensors in = random_tensors(size, random, Precision::bf16);
  Operands stay(size, in, Layout::packed, Precision::bf16, 0.125f), pass(size, in, Layout::packed, Precision::bf16, 0.125f);
  attention(stay.forward, {1, 227 * 1024}, nullptr);
  attention(pass.forward, {1, 99 * 1024}, nullptr);
  EXPECT(test::same_bits(stay.out(), pass.out()));
  EXPECT(test::same_bits(stay.lse(), pass.lse()));
}

TEST("attention leaves finished images as they were") {
  std::mt19937 random(8);
  for (const Precision precision : kPrecisions) {
    for (const BackwardForm form : {BackwardForm::fused, BackwardForm::split}) {
      const Size size{3, 2, 20, 32};
      const Tensors in = random_tensors(size, random, precision);
      Operands all(size, in, Layout::packed, precision, 0.2f), some(size, in, Layout::packed, precision, 0.2f);
      run(all, form);
      const Array<std::int32_t> live(std::vector<std::int32_t>{2});
      some.set_live(live.data());
      run(some, form);
      const std::size_t alive = size.elements() / 3 * 2;
      const auto halves_right = [&](const std::vector<float>& got, const std::vector<float>& whole) {
        for (std::size_t i = 0; i < got.size(); i++)
          if (i < alive ? got[i] != whole[i] : !std::isnan(got[i])) return false;
        return true;
      };
      EXPECT(halves_right(some.out(), all.out()));
      EXPECT(halves_right(some.dq(), all.dq()));
      EXPECT(halves_right(some.dk(), all.dk()));
      EXPECT(halves_right(some.dv(), all.dv()));
      const std::vector<float> lse = some.lse();
      EXPECT(!std::isnan(lse[79]) && std::isnan(lse[80]));
    }
  }
}

TEST("attention chooses its form by shape and shared memory") {
  const auto plan = [](std::int32_t images, std::int32_t length, std::int32_t head_size, std::uint32_t capability) {
    AttentionBackward args;
    args.forward.images = images, args.forward.heads = 12, args.forward.length = length, args.forward.head_size = head_size;
    return attention_backward_plan(args, {132, attention_shared_bytes(capability)});
  };
  EXPECT(plan(128, 197, 64, 90).form == BackwardForm::fused);
  EXPECT(plan(128, 197, 64, 80).form == BackwardForm::fused);
  EXPECT(plan(128, 197, 64, 120).form == BackwardForm::split);  // 99 KB
  EXPECT(plan(128, 65, 64, 120).form == BackwardForm::fused);
  EXPECT(plan(1, 197, 64, 90).form == BackwardForm::split);  // 12 heads would keep 12 of 132 multiprocessors busy
  EXPECT(plan(128, 257, 64, 90).form == BackwardForm::split);
  EXPECT(plan(128, 197, 128, 90).form == BackwardForm::split);
  for (const std::uint32_t capability : {80u, 89u, 90u, 120u}) {
    for (const std::int32_t length : {5, 65, 197, 257, 577, 1025}) {
      for (const std::int32_t head_size : {32, 64, 80, 96, 128}) {
        const AttentionBackwardPlan chosen = plan(16, length, head_size, capability);
        EXPECT(std::max(chosen.keys.shared_bytes, chosen.queries.shared_bytes) <= attention_shared_bytes(capability));
        EXPECT(chosen.keys.warps * chosen.keys.parts * kSlab >= length && chosen.keys.warps <= kFusedSlabs);
        AttentionBackward args;
        args.forward.images = 128, args.forward.heads = 12, args.forward.length = length, args.forward.head_size = head_size;
        const AttentionGrid grid = attention_forward_grid(args.forward, {132, attention_shared_bytes(capability)});
        EXPECT(grid.shared_bytes <= attention_shared_bytes(capability) && grid.warps <= 8);
      }
    }
  }
  const auto is = [](std::int32_t length, std::int32_t head_size, std::uint32_t capability, std::int32_t parts, std::int32_t warps,
                     bool stay) {
    Attention args;
    args.images = 128, args.heads = 12, args.length = length, args.head_size = head_size;
    const AttentionGrid grid = attention_forward_grid(args, {132, attention_shared_bytes(capability)});
    return grid.parts == parts && grid.warps == warps && (grid.slots * chunk_keys(padded_head(head_size)) >= length) == stay;
  };
  EXPECT(is(197, 64, 90, 1, 7, true));  // 13 slabs in two rounds, keys and values read once
  EXPECT(is(257, 64, 90, 1, 6, true));
  EXPECT(is(257, 80, 80, 1, 6, true));
  EXPECT(is(257, 64, 120, 3, 6, false));
  EXPECT(is(197, 128, 90, 1, 7, true));
  EXPECT(is(577, 64, 90, 5, 8, false));
}

TEST("attention gives the same output where no lse is wanted") {
  std::mt19937 random(10);
  for (const Precision precision : kPrecisions) {
    const Size size{1, 1, 20, 32};
    const Tensors in = random_tensors(size, random, precision);
    Operands with(size, in, Layout::packed, precision, 0.2f), without(size, in, Layout::packed, precision, 0.2f);
    without.forward.lse = nullptr;
    attention(with.forward, nullptr);
    attention(without.forward, nullptr);
    EXPECT(test::same_bits(with.out(), without.out()));
    EXPECT(std::isnan(without.lse()[0]));
  }
}

TEST("attention refuses what it cannot serve") {
  const auto refuses = [](auto&& change) {
    Attention args;
    args.images = args.heads = 1, args.length = 8, args.head_size = 8;
    change(args);
    try {
      attention(args, nullptr);
    } catch (const signstep::rt::Failure& failure) {
      return failure.kind == signstep::rt::Failure::Kind::invalid && failure.message.find("attention: ") == 0;
    }
    return false;
  };
  EXPECT(refuses([](Attention& args) { args.length = 0; }));
  EXPECT(refuses([](Attention& args) { args.queries = -1; }));
  EXPECT(refuses([](Attention& args) { args.head_size = 129; }));
  EXPECT(refuses([](Attention& args) { args.scale = 0; }));
  EXPECT(refuses([](Attention& args) { args.scale = std::numeric_limits<float>::infinity(); }));
}

#if defined(SIGNSTEP_SIM)
TEST("attention reads and writes shared memory without bank conflicts") {
  std::mt19937 random(9);
  signstep::sim::take_statistics();
  signstep::rt::set_schedule(1);  // statistics are kept where accesses are checked
  for (const std::int32_t head_size : {32, 64, 80, 96, 128}) {
    const Size size{1, 1, 65, head_size};
    const Tensors in = random_tensors(size, random, Precision::bf16);
    Operands operands(size, in, Layout::packed, Precision::bf16, 0.125f);
    run(operands, BackwardForm::split);
    if (head_size <= kFusedHead) run(operands, BackwardForm::fused);
  }
  signstep::rt::set_schedule(0);
  const auto all = signstep::sim::take_statistics();
  EXPECT(all.size() == 4);
  for (const auto& [name, counted] : all) {
    if (counted.load_conflicts + counted.store_conflicts != 0)
      std::printf("  %s: %llu of %llu loads, %llu of %llu stores\n", name.c_str(), static_cast<unsigned long long>(counted.load_conflicts),
                  static_cast<unsigned long long>(counted.loads), static_cast<unsigned long long>(counted.store_conflicts),
                  static_cast<unsigned long long>(counted.stores));
    EXPECT(counted.loads > 0 && counted.load_conflicts == 0);
    EXPECT(counted.store_conflicts == 0);
  }
}
#endif
