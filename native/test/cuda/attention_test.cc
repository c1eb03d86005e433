// attention() and attention_backward() against float64, in every form of the kernels.
#include <algorithm>
#include <limits>
#include <memory>

#include "../../cuda/kernels/attention_launch.h"
#include "device_case.h"

using namespace device_case;
using namespace signstep::kernels;

namespace {

constexpr Precision kPrecisions[] = {Precision::bf16, Precision::fp16, Precision::float32};

// Where q, k, v and out lie. packed: [image, row, (q k v), head, column], as one projection leaves them, out [image, row, head, column].
// separate: four arrays [image, head, row, column]. odd: as separate, but nothing begins on 16 bytes.
enum class Layout { packed, separate, odd };

struct Size {
  std::int32_t images, heads, length, head_size;
  std::size_t elements() const { return static_cast<std::size_t>(images) * static_cast<std::size_t>(heads * length * head_size); }
  std::size_t rows() const { return static_cast<std::size_t>(images * heads * length); }
};

// Arrays [image, head, row, column], densely.
struct Tensors {
  std::vector<float> q, k, v, dout;
};
struct Expected {
  std::vector<double> out, lse, dq, dk, dv;
};

// The definition, in F; P, dS and out rounded to `precision` where they are stored. F = double and float32: exact. F = float: the plain version.
template <class F>
Expected definition(const Size& size, const Tensors& in, float scale, Precision precision) {
  const auto length = static_cast<std::size_t>(size.length), width = static_cast<std::size_t>(size.head_size);
  const auto round = [&](F x) { return precision == Precision::float32 ? x : static_cast<F>(rounded(static_cast<float>(x), precision)); };
  Expected e;
  for (auto* array : {&e.out, &e.dq, &e.dk, &e.dv}) array->assign(size.elements(), 0.0);
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
    for (std::size_t r = 0; r < length; r++) {
      const float* const q = &in.q[at + r * width];
      const float* const dout = &in.dout[at + r * width];
      F maximum = -std::numeric_limits<F>::infinity(), sum = 0;
      for (std::size_t j = 0; j < length; j++) {
        p[j] = static_cast<F>(scale) * dot(q, &in.k[at + j * width]);
        maximum = std::max(maximum, p[j]);
      }
      for (std::size_t j = 0; j < length; j++) sum += p[j] = std::exp(p[j] - maximum);
      e.lse[h * length + r] = static_cast<double>(maximum + std::log(sum));
      std::fill(out.begin(), out.end(), F{0});
      for (std::size_t j = 0; j < length; j++) {
        p[j] /= sum;
        for (std::size_t c = 0; c < width; c++) out[c] += round(p[j]) * static_cast<F>(in.v[at + j * width + c]);
      }
      F delta = 0;
      for (std::size_t c = 0; c < width; c++) {
        delta += static_cast<F>(dout[c]) * round(out[c]);
        e.out[at + r * width + c] = static_cast<double>(round(out[c]));
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
      for (std::size_t c = 0; c < width; c++) e.dq[at + r * width + c] = static_cast<double>(round(static_cast<F>(scale) * dq[c]));
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
  const std::size_t rows = size.rows(), width = static_cast<std::size_t>(size.head_size);
  Tensors t;
  t.q = all_rounded(normal(rows, width, random, 0.2f, query_deviation), precision);
  t.k = all_rounded(normal(rows, width, random, -0.3f, 1.0f, size.head_size), precision);
  t.v = all_rounded(normal(rows, width, random, 0.5f, 1.0f, size.head_size), precision);
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
      q_at_ = {layout == Layout::odd ? 5 : 0, size.heads * size.length * pitch, size.length * pitch, pitch};
      k_at_ = v_at_ = out_at_ = q_at_;
    }
    const bool shared = layout == Layout::packed;
    const std::size_t whole = end(q_at_);
    std::vector<float> q(whole), k(shared ? 0 : whole), v(shared ? 0 : whole), dout(end(out_at_));
    place(q, q_at_, in.q);
    place(shared ? q : k, k_at_, in.k);
    place(shared ? q : v, v_at_, in.v);
    place(dout, out_at_, in.dout);
    arrays_.push_back(std::make_unique<Values>(q, precision));
    for (const std::vector<float>* array : {&k, &v}) arrays_.push_back(shared ? nullptr : std::make_unique<Values>(*array, precision));
    arrays_.push_back(std::make_unique<Values>(dout, precision));
    for (int i = 0; i < 3; i++) gradients_.push_back(shared && i > 0 ? nullptr : std::make_unique<Values>(whole, precision));
    out_ = std::make_unique<Values>(dout.size(), precision);
    const auto data = [](const std::vector<std::unique_ptr<Values>>& all, std::size_t i) { return (all[i] ? all[i] : all[0])->data(); };
    forward = {precision, data(arrays_, 0), data(arrays_, 1), data(arrays_, 2), out_->data(), lse_.data(), q_at_, k_at_, v_at_, out_at_,
               size.images, size.heads, size.length, size.head_size, scale, nullptr};
    backward = {forward, arrays_[3]->data(), data(gradients_, 0), data(gradients_, 1), data(gradients_, 2)};
  }

  void set_live(const std::int32_t* live) { forward.live = backward.forward.live = live; }
  std::vector<float> out() const { return taken(*out_, out_at_); }
  std::vector<float> lse() const { return lse_.host(); }
  std::vector<float> dq() const { return taken(*gradients_[0], q_at_); }
  std::vector<float> dk() const { return taken(*(gradients_[1] ? gradients_[1] : gradients_[0]), k_at_); }
  std::vector<float> dv() const { return taken(*(gradients_[2] ? gradients_[2] : gradients_[0]), v_at_); }
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
  void each(const Strided& at, Body&& body) const {
    std::size_t dense = 0;
    for (std::int64_t i = 0; i < size_.images; i++)
      for (std::int64_t h = 0; h < size_.heads; h++)
        for (std::int64_t r = 0; r < size_.length; r++)
          for (std::int64_t c = 0; c < size_.head_size; c++)
            body(static_cast<std::size_t>(at.offset + i * at.image + h * at.head + r * at.row + c), dense++);
  }
  void place(std::vector<float>& to, const Strided& at, const std::vector<float>& from) const {
    each(at, [&](std::size_t strided, std::size_t dense) { to[strided] = from[dense]; });
  }
  std::vector<float> taken(const Values& values, const Strided& at) const {
    const std::vector<float> all = values.host();
    std::vector<float> out(size_.elements());
    each(at, [&](std::size_t strided, std::size_t dense) { out[dense] = all[strided]; });
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

// Twice what the plain version loses in the same precision, and never less than twice the rounding of the result.
bool close(const char* what, const Size& size, const std::vector<float>& got, const std::vector<double>& exact, const std::vector<double>& plain) {
  const double error = relative_error(got, exact), limit = relative_error(std::vector<float>(plain.begin(), plain.end()), exact);
  if (error <= 2 * limit + 2e-7) return true;
  std::printf("  %s, length %d, head size %d: error %.3g, plain %.3g\n", what, size.length, size.head_size, error, limit);
  return false;
}

void check(const Size& size, Layout layout, Precision precision, BackwardForm form, int schedules, std::mt19937& random,
           float query_deviation = 1.0f, float scale = 0.0f) {
  if (scale == 0.0f) scale = 1.0f / std::sqrt(static_cast<float>(size.head_size));
  const Tensors in = random_tensors(size, random, precision, query_deviation);
  const Expected exact = definition<double>(size, in, scale, Precision::float32), plain = definition<float>(size, in, scale, precision);
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
          EXPECT(close("dq", size, operands.dq(), exact.dq, plain.dq));
          EXPECT(close("dk", size, operands.dk(), exact.dk, plain.dk));
          EXPECT(close("dv", size, operands.dv(), exact.dv, plain.dv));
        }
        EXPECT(test::same_bits(first, written));
      },
      schedules);
}

}  // namespace

TEST("attention on chip: 5 to 197 rows, every head size, within twice the error of the plain version, whatever the order of warps") {
  std::mt19937 random(1);
  for (const std::int32_t head_size : {20, 32, 64, 80, 96, 128}) {
    for (const std::int32_t length : {5, 49, 65}) {
      for (const Precision precision : kPrecisions) {
        const Layout layout = (head_size + length) % 2 == 0 ? Layout::separate : Layout::packed;
        check({1, 2, length, head_size}, layout, precision, BackwardForm::automatic, length == 49 ? 4 : 1, random);
      }
    }
  }
  for (const Precision precision : kPrecisions) check({1, 1, 197, 64}, Layout::packed, precision, BackwardForm::automatic, 2, random);
}
