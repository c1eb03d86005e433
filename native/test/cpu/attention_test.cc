// attention() and attention_backward() of the processor against float64.
#include <algorithm>
#include <limits>

#include "../../core/parallel/thread_pool.h"
#include "../cuda/device_case.h"

using namespace device_case;
using namespace signstep::kernels;

namespace {

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
struct Results {
  std::vector<double> out, lse, dq, dk, dv;
  // How much larger the terms of dP - delta are than the difference that remains: large where one key has nearly all of P.
  double cancellation = 0;
};

// The definition, in F; with `precision` bf16 P, dS and the results are rounded. F = double and float32: exact; F = float: the plain
// version.
template <class F>
Results definition(const Size& size, const Tensors& in, double scale_factor, Precision precision) {
  const F scale = static_cast<F>(scale_factor);
  const auto length = static_cast<std::size_t>(size.length), width = static_cast<std::size_t>(size.head_size);
  const auto round = [&](F x) { return precision == Precision::float32 ? x : static_cast<F>(rounded(static_cast<float>(x), precision)); };
  const auto dot = [&](const float* a, const float* b) {
    F sum = 0;
    for (std::size_t c = 0; c < width; c++) sum += static_cast<F>(a[c]) * static_cast<F>(b[c]);
    return sum;
  };
  const auto magnitude = [&](const float* a, const float* b) {
    double sum = 0;
    for (std::size_t c = 0; c < width; c++) sum += std::abs(static_cast<double>(a[c]) * static_cast<double>(b[c]));
    return sum;
  };
  const auto queries = static_cast<std::size_t>(size.query_rows());
  double terms = 0, differences = 0;
  std::vector<F> out(size.elements()), dq(out), dk(size.key_rows() * width), dv(dk), p(length);
  Results e;
  for (std::size_t row = 0; row < size.rows(); row++) {
    const std::size_t head = row / queries * length * width, at = row * width;
    F maximum = -std::numeric_limits<F>::infinity(), sum = 0, delta = 0;
    double term = 0;
    for (std::size_t j = 0; j < length; j++) maximum = std::max(maximum, p[j] = scale * dot(&in.q[at], &in.k[head + j * width]));
    for (std::size_t j = 0; j < length; j++) sum += p[j] = std::exp(p[j] - maximum);
    e.lse.push_back(static_cast<double>(maximum + std::log(sum)));
    for (std::size_t j = 0; j < length; j++) {
      p[j] /= sum;
      term += static_cast<double>(p[j]) * magnitude(&in.dout[at], &in.v[head + j * width]);
    }
    for (std::size_t c = 0; c < width; c++) {
      for (std::size_t j = 0; j < length; j++) out[at + c] += round(p[j]) * static_cast<F>(in.v[head + j * width + c]);
      delta += static_cast<F>(in.dout[at + c]) * (out[at + c] = round(out[at + c]));
    }
    for (std::size_t j = 0; j < length; j++) {
      const std::size_t key = head + j * width;
      const F ds = round(p[j] * (dot(&in.dout[at], &in.v[key]) - delta));
      terms += std::pow(static_cast<double>(p[j]) * (term + magnitude(&in.dout[at], &in.v[key])), 2);
      differences += static_cast<double>(ds * ds);
      for (std::size_t c = 0; c < width; c++) {
        dq[at + c] += scale * ds * static_cast<F>(in.k[key + c]);
        dk[key + c] += scale * ds * static_cast<F>(in.q[at + c]);
        dv[key + c] += round(p[j]) * static_cast<F>(in.dout[at + c]);
      }
    }
  }
  e.cancellation = std::sqrt(terms / differences);
  const auto stored = [&](const std::vector<F>& values) {
    std::vector<double> all;
    for (const F x : values) all.push_back(static_cast<double>(round(x)));
    return all;
  };
  e.out = stored(out), e.dq = stored(dq), e.dk = stored(dk), e.dv = stored(dv);
  return e;
}

std::vector<float> all_rounded(std::vector<float> values, Precision precision) {
  for (float& value : values) value = rounded(value, precision);
  return values;
}

Tensors random_tensors(const Size& size, std::mt19937& random, Precision precision, float query_deviation = 1) {
  const auto width = static_cast<std::size_t>(size.head_size);
  return {all_rounded(normal(size.rows(), width, random, 0.2f, query_deviation), precision),
          all_rounded(normal(size.key_rows(), width, random, -0.3f, 1, size.head_size), precision),
          all_rounded(normal(size.key_rows(), width, random, 0.5f, 1, size.head_size), precision),
          all_rounded(normal(size.rows(), width, random, 0.1f, 1), precision)};
}

// packed: [image, row, (q k v), head, column], out [image, row, head, column]; otherwise, and where queries are not as many as keys, all
// queries, then all keys, then all values [image, head, row, column] with three elements after each row and five before the first, so that
// nothing is aligned.
struct Run {
  Run(const Size& size, const Tensors& in, Precision precision, double scale, bool packed, const std::int32_t* live = nullptr)
      : size_(size) {
    const std::int64_t width = size.head_size, row = size.heads * width, pitch = width + 3;
    const std::int64_t plane = size.heads * size.length * pitch, query_plane = size.heads * size.query_rows() * pitch;
    Attention args;
    args.precision = precision, args.images = size.images, args.heads = size.heads;
    args.length = size.length, args.head_size = size.head_size, args.queries = size.queries;
    args.scale = static_cast<float>(scale), args.live = live;
    if (packed) {
      args.q_at = {0, size.length * 3 * row, width, 3 * row};
      args.k_at = args.v_at = args.q_at;
      args.k_at.offset = row, args.v_at.offset = 2 * row;
      args.out_at = {0, size.length * row, width, row};
    } else {
      args.q_at = {5, query_plane, size.query_rows() * pitch, pitch};
      args.k_at = args.v_at = {5 + size.images * query_plane, plane, size.length * pitch, pitch};
      args.v_at.offset += size.images * plane;
      args.out_at = {1, query_plane, size.query_rows() * pitch, pitch};
    }
    std::vector<float> qkv(static_cast<std::size_t>(8 + args.v_at.offset + size.images * args.v_at.image));
    std::vector<float> dout(static_cast<std::size_t>(8 + size.images * args.out_at.image));
    place(qkv, args.q_at, size.query_rows(), in.q);
    place(qkv, args.k_at, size.length, in.k);
    place(qkv, args.v_at, size.length, in.v);
    place(dout, args.out_at, size.query_rows(), in.dout);
    const Values inputs(qkv, precision), gradient(dout, precision), results(dout.size(), precision), gradients(qkv.size(), precision);
    const Array<float> sums(size.rows());
    args.q = args.k = args.v = inputs.data(), args.out = results.data(), args.lse = sums.data();
    attention(args, nullptr);
    AttentionBackward back;
    back.forward = args, back.dout = gradient.data(), back.dq = back.dk = back.dv = gradients.data();
    attention_backward(back, nullptr);
    out = taken(results.host(), args.out_at, size.query_rows()), lse = sums.host();
    const std::vector<float> all = gradients.host();
    dq = taken(all, args.q_at, size.query_rows()), dk = taken(all, args.k_at, size.length), dv = taken(all, args.v_at, size.length);
    written = results.host();
    written.insert(written.end(), all.begin(), all.end());
  }

  std::vector<float> out, lse, dq, dk, dv;
  std::vector<float> written;  // with the gaps of the layout

 private:
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
  std::vector<float> taken(const std::vector<float>& all, const Strided& at, std::int32_t rows) const {
    std::vector<float> dense_rows(static_cast<std::size_t>(size_.images * size_.heads * rows * size_.head_size));
    each(at, rows, [&](std::size_t strided, std::size_t dense) { dense_rows[dense] = all[strided]; });
    return dense_rows;
  }
  Size size_;
};

bool close(const char* what, const Size& size, const std::vector<float>& got, const std::vector<double>& exact,
           const std::vector<double>& plain, double float_error) {
  const double error = relative_error(got, exact), limit = relative_error(std::vector<float>(plain.begin(), plain.end()), exact);
  if (error <= 2 * limit + float_error) return true;
  std::printf("  %s, length %d, head size %d: error %.3g, plain %.3g\n", what, size.length, size.head_size, error, limit);
  return false;
}

void check(const Size& size, Precision precision, bool packed, std::mt19937& random, float query_deviation = 1, double scale = 0.125) {
  const Tensors in = random_tensors(size, random, precision, query_deviation);
  const Results exact = definition<double>(size, in, scale, Precision::float32), plain = definition<float>(size, in, scale, precision);
  double largest = 0;
  for (const double lse : exact.lse) largest = std::max(largest, std::abs(lse));
  // In float32 a score has an error of its last place, which the exponential makes one of the result.
  const double error = 5e-7 + 0x1p-23 * largest, gradient_error = error + 0x1p-23 * exact.cancellation;
  const Run run(size, in, precision, scale, packed);
  EXPECT(close("out", size, run.out, exact.out, plain.out, error));
  EXPECT(relative_error(run.lse, exact.lse) < 1e-6);
  EXPECT(close("dq", size, run.dq, exact.dq, plain.dq, gradient_error));
  EXPECT(close("dk", size, run.dk, exact.dk, plain.dk, gradient_error));
  EXPECT(close("dv", size, run.dv, exact.dv, plain.dv, error));
}

constexpr Precision kPrecisions[] = {Precision::bf16, Precision::float32};

}  // namespace

TEST("the processor's attention is within the error of the plain version, whatever the length and head size, aligned or not") {
  std::mt19937 random(1);
  for (const Precision precision : kPrecisions) {
    for (const std::int32_t head_size : {1, 8, 33, 64, 80, 128}) {
      if (head_size == 1 && precision == Precision::bf16) continue;  // the rounding of a single number decides
      for (const std::int32_t length : {1, 2, 5, 16, 49, 65})
        check({1, 2, length, head_size}, precision, (length + head_size) % 2 == 0, random);
    }
    check({2, 3, 197, 64}, precision, true, random);
    check({1, 1, 577, 32}, precision, false, random);
    check({1, 1, 3000, 8}, precision, true, random);  // blocks of a few queries
  }
}

TEST("the processor's attention of one query, or of any other number than there are keys") {
  std::mt19937 random(5);
  for (const Precision precision : kPrecisions)
    for (const Size size : {Size{2, 2, 197, 48, 1}, Size{1, 3, 17, 64, 1}, Size{1, 1, 5, 20, 70}, Size{2, 1, 40, 128, 33}, Size{1, 1, 2, 32, 3}})
      check(size, precision, false, random);
}

TEST("the processor's attention takes scores in the hundreds and a negative scale") {
  std::mt19937 random(2);
  for (const Precision precision : kPrecisions) {
    check({1, 1, 80, 64}, precision, true, random, 12);
    check({1, 1, 37, 32}, precision, true, random, 1, -0.2);
  }
}

TEST("the processor's attention gives the same bits on any number of threads") {
  std::mt19937 random(3);
  const std::uint32_t before = signstep::ThreadPool::instance().threads();
  for (const Precision precision : kPrecisions) {
    for (const Size size : {Size{1, 1, 197, 64}, Size{1, 3, 70, 20}, Size{1, 1, 65, 32}, Size{1, 1, 197, 24, 1}, Size{1, 1, 90, 24, 200}}) {
      const Tensors in = random_tensors(size, random, precision);
      std::vector<float> first;
      for (const std::uint32_t threads : {1u, 2u, 4u, 7u, 32u}) {
        signstep::ThreadPool::instance().set_threads(threads);
        const Run run(size, in, precision, 0.125, size.queries == 0);
        if (first.empty()) first = run.written;
        EXPECT(test::same_bits(first, run.written));
      }
    }
  }
  signstep::ThreadPool::instance().set_threads(before);
}

TEST("the processor's attention leaves finished images as they were") {
  std::mt19937 random(4);
  for (const Precision precision : kPrecisions) {
    const Size size{3, 2, 20, 32};
    const Tensors in = random_tensors(size, random, precision);
    const Array<std::int32_t> live(std::vector<std::int32_t>{2});
    const Run all(size, in, precision, 0.2, true), some(size, in, precision, 0.2, true, live.data());
    const auto right = [&](const std::vector<float>& got, const std::vector<float>& whole) {
      for (std::size_t i = 0; i < got.size(); i++)
        if (i < got.size() / 3 * 2 ? got[i] != whole[i] : !std::isnan(got[i])) return false;
      return true;
    };
    EXPECT(right(some.out, all.out) && right(some.lse, all.lse));
    EXPECT(right(some.dq, all.dq) && right(some.dk, all.dk) && right(some.dv, all.dv));
  }
}

TEST("the processor's attention refuses fp16 and what it cannot serve, and needs no lse but for the gradient") {
  const auto refuses = [](auto&& change) {
    AttentionBackward args;
    args.forward.images = args.forward.heads = 1, args.forward.length = args.forward.head_size = 8;
    change(args.forward);
    try {
      attention_backward(args, nullptr);
    } catch (const signstep::rt::Failure& failure) {
      return failure.kind == signstep::rt::Failure::Kind::invalid && failure.message.find("attention: ") == 0;
    }
    return false;
  };
  EXPECT(refuses([](Attention& args) { args.length = 0; }));
  EXPECT(refuses([](Attention& args) { args.head_size = 129; }));
  EXPECT(refuses([](Attention& args) { args.scale = 0; }));
  EXPECT(refuses([](Attention& args) { args.scale = std::numeric_limits<float>::infinity(); }));
  EXPECT(refuses([](Attention&) {}));  // no lse
  float lse = 0;
  EXPECT(refuses([&](Attention& args) { args.lse = &lse, args.precision = Precision::fp16; }));

  std::mt19937 random(5);
  const Values in(normal(3 * 20, 8, random), Precision::float32), with(20 * 8, Precision::float32), without(20 * 8, Precision::float32);
  const Array<float> sums(20);
  Attention args;
  args.precision = Precision::float32, args.images = args.heads = 1, args.length = 20, args.head_size = 8;
  args.q = args.k = args.v = in.data(), args.out = with.data(), args.lse = sums.data();
  args.q_at = {0, 0, 0, 8}, args.k_at = {160, 0, 0, 8}, args.v_at = {320, 0, 0, 8}, args.out_at = {0, 0, 0, 8};
  attention(args, nullptr);
  args.out = without.data(), args.lse = nullptr;
  attention(args, nullptr);
  EXPECT(test::same_bits(with.host(), without.host()));
}
