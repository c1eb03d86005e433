// gemm(): every epilogue in every precision against float64, on sizes that fit no tile, on both matrix cores; and the PGD step at its end,
// which must not differ from the CPU's in one bit.
#include "../../cuda/kernels/gemm_dispatch.h"

#include <algorithm>
#include <functional>
#include <memory>

#include "../epilogue_oracle.h"
#include "device_case.h"
#if defined(SIGNSTEP_SIM)
#include "../../sim/statistics.h"
#endif

using namespace device_case;
using epilogue_oracle::activation;
using epilogue_oracle::is_forward;
using epilogue_oracle::is_store;
using epilogue_oracle::kActivations;
using epilogue_oracle::kDerivatives;
using epilogue_oracle::slope;
using signstep::kernels::choose_gemm;
using signstep::kernels::Epilogue;
using signstep::kernels::Gemm;
using signstep::kernels::gemm;
using signstep::kernels::GemmConfig;
using signstep::kernels::GemmCore;
using signstep::kernels::GemmDevice;
using signstep::kernels::GemmShape;
using signstep::kernels::RowMap;

namespace {

constexpr Precision kPrecisions[] = {Precision::bf16, Precision::fp16, Precision::float32};
constexpr Precision k16Bit[] = {Precision::bf16, Precision::fp16};

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

std::int64_t mapped(const RowMap& map, std::int64_t row) {
  return map.group == 0 ? row : row / map.group * map.stride + map.offset + row % map.group;
}

struct Problem {
  std::int64_t rows;
  int n, k;
  Epilogue epilogue = Epilogue::store;
  Precision precision = Precision::bf16;
  bool bias = true, scale = false, residual = false, keep_aux = true, table = false;
  RowMap a_map = {}, out_map = {};
  int live = -1, rows_per_image = 0;  // -1: all
  int misaligned = 0;                 // a, b and out begin this many elements behind a 256-byte boundary
  GemmCore core = GemmCore::mma;
  int tile_columns = 0;  // 0: as chosen; else the wgmma kernel of these
};

struct Reference {
  std::vector<double> out, aux;  // exact, of the stored rows that are written; zero elsewhere
  std::vector<float> plain;      // the same in float32, one product after the other
  std::vector<std::size_t> written;
};

// The inputs as the device will see them: rounded.
struct Inputs {
  std::vector<float> a, b, bias, scale, residual, aux, table;
};

std::vector<float> rounded_all(std::vector<float> v, Precision precision) {
  for (float& x : v) x = rounded(x, precision);
  return v;
}

std::int64_t stored(const RowMap& map, std::int64_t rows) { return mapped(map, rows - 1) + 1 + (map.group == 0 ? 0 : 1); }

Inputs make_inputs(const Problem& p, std::mt19937& random) {
  const std::size_t n = size(p.n), k = size(p.k), out_rows = size(stored(p.out_map, p.rows));
  Inputs in;
  in.a = rounded_all(normal(size(stored(p.a_map, p.rows)), k, random, 0.3f, 1, 37), p.precision);
  in.b = rounded_all(normal(n, k, random, 0.01f, 1 / std::sqrt(static_cast<float>(p.k)), 0), p.precision);
  in.bias = normal(1, n, random, 0.1f);
  in.scale = normal(1, n, random, 0.5f);
  in.residual = rounded_all(normal(out_rows, n, random, 0.2f, 2), p.precision);
  in.aux = rounded_all(normal(out_rows, n, random, -0.1f, 1.5f), p.precision);
  in.table = normal(size(std::max(p.out_map.group, 1)), n, random);
  return in;
}

Reference compute(const Problem& p, const Inputs& in) {
  const std::size_t n = size(p.n), k = size(p.k), total = size(stored(p.out_map, p.rows)) * n;
  const std::int64_t rows = p.live < 0 ? p.rows : std::min(p.rows, static_cast<std::int64_t>(p.live) * p.rows_per_image);
  Reference r{std::vector<double>(total), std::vector<double>(total), std::vector<float>(total), {}};
  for (std::int64_t row = 0; row < rows; row++) {
    const float* a = in.a.data() + size(mapped(p.a_map, row)) * k;
    for (std::size_t c = 0; c < n; c++) {
      const float* b = in.b.data() + c * k;
      double exact = 0;
      float plain = 0;
      for (std::size_t i = 0; i < k; i++) {
        exact += static_cast<double>(a[i]) * b[i];
        plain += a[i] * b[i];
      }
      const std::size_t at = size(mapped(p.out_map, row)) * n + c;
      const auto finish = [&](double sum) {
        if (!is_store(p.epilogue) && !is_forward(p.epilogue))
          return (p.residual ? sum + in.residual[at] : sum) * slope(p.epilogue, in.aux[at]);
        if (p.bias) sum += in.bias[c];
        if (is_forward(p.epilogue)) return activation(p.epilogue, p.residual ? sum + in.residual[at] : sum);
        if (p.scale) sum *= in.scale[c];
        if (p.residual) sum += in.residual[at];
        if (p.table) sum += in.table[size(row % p.out_map.group) * n + c];
        return sum;
      };
      r.out[at] = finish(exact);
      r.plain[at] = static_cast<float>(finish(plain));
      r.aux[at] = exact + (p.bias ? in.bias[c] : 0) + (p.residual ? in.residual[at] : 0);
      r.written.push_back(at);
    }
  }
  return r;
}

template <class T>
std::vector<T> picked(const std::vector<T>& from, const std::vector<std::size_t>& at) {
  std::vector<T> out;
  out.reserve(at.size());
  for (std::size_t i : at) out.push_back(from[i]);
  return out;
}

// An array whose elements begin `shift` elements behind the start of its allocation.
struct Shifted {
  Shifted(const std::vector<float>& host, Precision precision, int shift) : shift_(size(shift)), precision_(precision) {
    std::vector<float> padded(shift_, 0.0f);
    padded.insert(padded.end(), host.begin(), host.end());
    values_ = std::make_unique<Values>(padded, precision);
  }
  void* data() const { return static_cast<char*>(values_->data()) + shift_ * signstep::kernels::bytes_of(precision_); }
  std::vector<float> host() const {
    const std::vector<float> all = values_->host();
    return {all.begin() + static_cast<std::ptrdiff_t>(shift_), all.end()};
  }
  std::size_t shift_;
  Precision precision_;
  std::unique_ptr<Values> values_;
};

void check(const Problem& p, std::mt19937& random, int schedules = 4) {
  const Inputs in = make_inputs(p, random);
  const Reference reference = compute(p, in);
  const std::vector<double> exact = picked(reference.out, reference.written);
  const double plain_error = relative_error(picked(reference.plain, reference.written), exact);
  const std::vector<float> poison(reference.out.size(), std::numeric_limits<float>::quiet_NaN());
  const Precision out_precision = p.epilogue == Epilogue::store_float ? Precision::float32 : p.precision;
  // 16-bit results: what rounding alone costs. float32 results: what a float32 product costs, but at least the spacing of float32 (the
  // product of two low tf32 parts is left out); of 16-bit operands a little more, since tensor cores cut off where they add.
  double bound = out_precision == Precision::float32 ? 2 * plain_error : 1.5 * rounding_error(exact, p.precision);
  bound = std::max(bound, p.precision == Precision::float32 ? 1.2e-7 : 1e-6);

  const Shifted a(in.a, p.precision, p.misaligned), b(in.b, p.precision, p.misaligned);
  const Array<float> bias(in.bias), scale(in.scale), table(in.table);
  const Values residual(in.residual, p.precision);
  const Array<std::int32_t> live(std::vector<std::int32_t>{p.live});
  under_schedules(
      [&](int) {
        const Shifted out(poison, out_precision, p.misaligned);
        const Values aux(is_forward(p.epilogue) ? poison : in.aux, p.precision);
        Gemm g;
        g.precision = p.precision;
        g.a = a.data();
        g.b = b.data();
        g.out = out.data();
        g.rows = p.rows;
        g.n = p.n;
        g.k = p.k;
        g.epilogue = p.epilogue;
        if (p.bias) g.bias = bias.data();
        if (p.scale) g.scale = scale.data();
        if (p.residual) g.residual = residual.data();
        if (p.table) g.table = table.data();
        if (!is_store(p.epilogue) && p.keep_aux) g.aux = aux.data();
        g.a_map = p.a_map;
        g.out_map = p.out_map;
        if (p.live >= 0) g.live = {live.data(), p.rows_per_image};
        if (p.tile_columns == 0)
          gemm(g, nullptr, p.core);
        else
          gemm(g, nullptr, GemmConfig{GemmCore::wgmma, 128, p.tile_columns, true});

        const std::vector<float> result = out.host();
        const double error = relative_error(picked(result, reference.written), exact);
        if (!(error <= bound))
          std::printf("  epilogue %u precision %u %lldx%dx%d core %u: error %.3g, bound %.3g\n", static_cast<unsigned>(p.epilogue),
                      static_cast<unsigned>(p.precision), static_cast<long long>(p.rows), p.n, p.k, static_cast<unsigned>(p.core), error, bound);
        EXPECT(error <= bound);
        if (is_forward(p.epilogue) && p.keep_aux) {
          const std::vector<double> exact_aux = picked(reference.aux, reference.written);
          const double aux_error = relative_error(picked(aux.host(), reference.written), exact_aux);
          EXPECT(aux_error <= (p.precision == Precision::float32 ? 1e-6 : 1.5 * rounding_error(exact_aux, p.precision)));
        }
        if (p.live >= 0) return;
        // What no row maps to is left alone.
        std::vector<bool> touched(result.size());
        for (std::size_t at : reference.written) touched[at] = true;
        bool untouched = true;
        for (std::size_t i = 0; i < result.size(); i++) untouched = untouched && (touched[i] || std::isnan(result[i]));
        EXPECT(untouched);
      },
      schedules);
}

// ---- the step ----------------------------------------------------------------------------------------------------------------------------

struct StepCase {
  Precision precision;
  int images, patches, n, k;
  int live = -1;
  int wgmma_columns = 0;  // 0: the mma core
};

// a and b hold small whole numbers: every sum is exact in every precision, so the gradient is known bit by bit, zeros included.
void check_step(const StepCase& c, std::mt19937& random) {
  const std::size_t rows = size(c.images) * size(c.patches), n = size(c.n), k = size(c.k);
  std::uniform_int_distribution<int> small(-2, 2);
  std::uniform_real_distribution<float> unit(0, 1);
  std::vector<float> a(rows * k), b(n * k), x0(rows * n), x(rows * n);
  for (float& v : a) v = static_cast<float>(small(random));
  for (float& v : b) v = static_cast<float>(small(random));
  for (std::size_t i = 0; i < k; i++) a[i] = 0;                                         // a row of zero gradient
  for (std::size_t i = 0; i < size(c.patches) * k; i++) a[size(c.patches) * k + i] = 0;  // image 1: all of it
  a[k * size(c.patches) * 2 + 3] = std::numeric_limits<float>::quiet_NaN();             // a row of image 2: no value
  std::vector<float> alpha, eps;
  std::vector<std::uint8_t> hold;
  for (int i = 0; i < c.images; i++) {
    alpha.push_back((i % 2 == 0 ? 1.0f : -1.0f) * (0.003f + 0.01f * unit(random)));
    eps.push_back(i == 3 ? std::numeric_limits<float>::infinity() : 8 / 255.0f * unit(random));
    hold.push_back(i == 4 ? 1 : 0);
  }
  for (std::size_t i = 0; i < x.size(); i++) {
    const float e = eps[i / n / size(c.patches)];
    x0[i] = std::round(unit(random) * 255) / 255;
    x[i] = std::min(1.0f, std::max(0.0f, x0[i] + (std::isinf(e) ? 0.1f : e) * (2 * unit(random) - 1)));
  }

  // What native/core/kernels/step_linf.h does, one element at a time.
  std::vector<float> expected = x, operand(x.size());
  std::vector<std::int32_t> nan_count(size(c.images), 5), nonzero(size(c.images), 0);
  const std::size_t alive = c.live < 0 ? rows : size(c.live) * size(c.patches);
  for (std::size_t row = 0; row < alive; row++) {
    const std::size_t image = row / size(c.patches);
    for (std::size_t j = 0; j < n; j++) {
      float g = 0;
      for (std::size_t i = 0; i < k; i++) g += a[row * k + i] * b[j * k + i];
      if (std::isnan(g)) nan_count[image]++;
      if (g != 0) nonzero[image] = 1;
      if (hold[image] != 0) continue;
      const std::size_t at = row * n + j;
      volatile float moved = x[at] + (g > 0 ? alpha[image] : g < 0 ? -alpha[image] : 0.0f);
      const float low = x0[at] - eps[image], high = x0[at] + eps[image];
      float y = low > moved ? low : moved;
      y = high < y ? high : y;
      y = 0.0f > y ? 0.0f : y;
      expected[at] = 1.0f < y ? 1.0f : y;
      operand[at] = rounded(expected[at], c.precision);
    }
  }

  const Values device_a(a, c.precision), device_b(b, c.precision);
  const Array<float> device_x0(x0), device_alpha(alpha), device_eps(eps);
  const Array<std::uint8_t> device_hold(hold);
  const Array<std::int32_t> live(std::vector<std::int32_t>{c.live});
  under_schedules([&](int) {
    const Array<float> device_x(x);
    const Values device_operand(std::vector<float>(x.size(), -1), c.precision);
    const Array<std::int32_t> nan(std::vector<std::int32_t>(size(c.images), 5)), zero(std::vector<std::int32_t>(size(c.images), 0));
    Gemm g;
    g.precision = c.precision;
    g.a = device_a.data();
    g.b = device_b.data();
    g.rows = static_cast<std::int64_t>(rows);
    g.n = c.n;
    g.k = c.k;
    g.epilogue = Epilogue::step_linf;
    g.live = {c.live < 0 ? nullptr : live.data(), c.patches};
    g.step = {device_x.data(),     device_x0.data(),   device_operand.data(), device_alpha.data(),
              device_eps.data(),   device_hold.data(), nan.data(),            zero.data()};
    if (c.wgmma_columns == 0)
      gemm(g, nullptr, GemmCore::mma);
    else
      gemm(g, nullptr, GemmConfig{GemmCore::wgmma, 128, c.wgmma_columns, true});
    EXPECT(test::same_bits(device_x.host(), expected));
    const std::vector<float> got = device_operand.host();
    bool operand_right = true;
    for (std::size_t i = 0; i < got.size(); i++) {
      const std::size_t image = i / n / size(c.patches);
      const bool moved = i < alive * n && hold[image] == 0;
      operand_right = operand_right && got[i] == (moved ? operand[i] : -1.0f);
    }
    EXPECT(operand_right);
    EXPECT(nan.host() == nan_count);
    EXPECT(zero.host() == nonzero);
  });
}

}  // namespace

TEST("gemm: a plain product in three precisions, at sizes that fill tiles and sizes that do not") {
  std::mt19937 random(11);
  for (Precision precision : kPrecisions) {
    check({.rows = 64, .n = 64, .k = 64, .precision = precision, .bias = false}, random);
    check({.rows = 197 * 2, .n = 80, .k = 48, .precision = precision}, random);
    check({.rows = 256, .n = 256, .k = 96, .precision = precision}, random, 2);
    check({.rows = 1, .n = 8, .k = 8, .precision = precision}, random);
    check({.rows = 3, .n = 10, .k = 200, .precision = precision}, random);
  }
}

TEST("gemm: K and N of any size, and pointers at any element, go element by element") {
  std::mt19937 random(12);
  for (Precision precision : kPrecisions) {
    check({.rows = 70, .n = 27, .k = 27, .precision = precision, .residual = true}, random);
    check({.rows = 65, .n = 1, .k = 1, .precision = precision}, random);
    check({.rows = 33, .n = 72, .k = 40, .precision = precision, .scale = true, .misaligned = 1}, random);
    check({.rows = 20, .n = 13, .k = 129, .epilogue = Epilogue::gelu_erf, .precision = precision}, random);
  }
}

TEST("gemm: store = residual + scale * (product + bias), each of which may be left out; float32 out on request") {
  std::mt19937 random(13);
  for (Precision precision : kPrecisions)
    for (Epilogue epilogue : {Epilogue::store, Epilogue::store_float})
      for (int parts = 0; parts < 8; parts++)
        check({.rows = 67, .n = 72, .k = 48, .epilogue = epilogue, .precision = precision, .bias = (parts & 1) != 0,
               .scale = (parts & 2) != 0, .residual = (parts & 4) != 0},
              random, parts == 7 ? 4 : 1);
}

TEST("gemm: activations keep the pre-activation where asked") {
  std::mt19937 random(14);
  for (Precision precision : kPrecisions)
    for (Epilogue epilogue : kActivations)
      for (bool keep : {true, false})
        check({.rows = 77, .n = 88, .k = 56, .epilogue = epilogue, .precision = precision, .keep_aux = keep}, random, keep ? 4 : 1);
}

TEST("gemm: derivatives of activations multiply the product by the slope at the pre-activation") {
  std::mt19937 random(15);
  for (Precision precision : kPrecisions)
    for (Epilogue epilogue : kDerivatives)
      check({.rows = 131, .n = 72, .k = 56, .epilogue = epilogue, .precision = precision, .bias = false}, random);
}

TEST("gemm: relu and its derivative take a residual, on both cores") {
  std::mt19937 random(24);
  for (Precision precision : kPrecisions)
    for (bool keep : {true, false})
      for (int n : {72, 27}) {
        check({.rows = 131, .n = n, .k = 56, .epilogue = Epilogue::relu, .precision = precision, .residual = true, .keep_aux = keep}, random);
        if (keep)
          check({.rows = 131, .n = n, .k = 56, .epilogue = Epilogue::relu_backward, .precision = precision, .bias = false, .residual = true},
                random);
      }
  for (int tile_columns : {128, 192, 256}) {
    check({.rows = 200, .n = 264, .k = 72, .epilogue = Epilogue::relu, .residual = true, .tile_columns = tile_columns}, random, 2);
    check({.rows = 200, .n = 264, .k = 72, .epilogue = Epilogue::relu_backward, .bias = false, .residual = true, .tile_columns = tile_columns},
          random, 2);
  }
}

TEST("gemm: the residual may be the output itself, and so may the pre-activation") {
  std::mt19937 random(16);
  for (Precision precision : kPrecisions) {
    Problem p{.rows = 150, .n = 136, .k = 64, .precision = precision, .residual = true};
    const Inputs in = make_inputs(p, random);
    const Reference reference = compute(p, in);
    const Values a(in.a, precision), b(in.b, precision);
    const Array<float> bias(in.bias);
    under_schedules([&](int) {
      const Values out(in.residual, precision);
      Gemm g;
      g.precision = precision;
      g.a = a.data(), g.b = b.data(), g.out = out.data(), g.residual = out.data(), g.bias = bias.data();
      g.rows = p.rows, g.n = p.n, g.k = p.k;
      gemm(g, nullptr, GemmCore::mma);
      const double bound = precision == Precision::float32 ? 1e-6 : 1.5 * rounding_error(reference.out, precision);
      EXPECT(relative_error(out.host(), reference.out) <= bound);
    });
  }
}

TEST("gemm: row maps read and write every image's patches beside its class token, and add the position table") {
  std::mt19937 random(17);
  const RowMap behind_token{.group = 16, .stride = 17, .offset = 1}, token{.group = 1, .stride = 17, .offset = 0};
  for (Precision precision : kPrecisions) {
    check({.rows = 16 * 9, .n = 72, .k = 48, .precision = precision, .table = true, .out_map = behind_token}, random);
    check({.rows = 16 * 9, .n = 27, .k = 48, .epilogue = Epilogue::store_float, .precision = precision, .residual = true,
           .a_map = behind_token},
          random);
    check({.rows = 9, .n = 10, .k = 64, .epilogue = Epilogue::store_float, .precision = precision, .a_map = token}, random);
    check({.rows = 9, .n = 64, .k = 16, .precision = precision, .out_map = token}, random);
    check({.rows = 16 * 9, .n = 64, .k = 40, .epilogue = Epilogue::gelu_erf_backward, .precision = precision, .bias = false,
           .a_map = behind_token, .out_map = behind_token},
          random);
  }
}

TEST("gemm: only the rows of images under attack are computed, the tiles beyond left alone") {
  std::mt19937 random(18);
  for (GemmCore core : {GemmCore::mma, GemmCore::wgmma})
    for (int live : {0, 1, 3, 8}) {
      check({.rows = 8 * 50, .n = 72, .k = 48, .live = live, .rows_per_image = 50, .core = core}, random, 2);
      const Array<std::int32_t> count(std::vector<std::int32_t>{live});
      const Values a(normal(400, 64, random), Precision::bf16), b(normal(64, 64, random), Precision::bf16), out(400 * 64, Precision::bf16);
      Gemm g;
      g.a = a.data(), g.b = b.data(), g.out = out.data(), g.rows = 400, g.n = 64, g.k = 64, g.live = {count.data(), 50};
      gemm(g, nullptr, core);
      const std::vector<float> result = out.host();
      bool left = true;
      for (std::size_t i = (size(live) * 50 + 127) / 128 * 128 * 64; i < result.size(); i++) left = left && std::isnan(result[i]);
      EXPECT(left);
    }
}

TEST("gemm: float32 products are as good as float32 ones at K = 1024 with a mean and outliers") {
  std::mt19937 random(19);
  check({.rows = 40, .n = 64, .k = 1024, .precision = Precision::float32, .bias = false}, random, 2);
  check({.rows = 130, .n = 64, .k = 512, .epilogue = Epilogue::gelu_erf, .precision = Precision::float32}, random, 1);
}

TEST("gemm: the step at the end of the backward pass has the bits of step_linf") {
  std::mt19937 random(20);
  for (Precision precision : kPrecisions) {
    check_step({.precision = precision, .images = 6, .patches = 25, .n = 48, .k = 40}, random);
    check_step({.precision = precision, .images = 9, .patches = 4, .n = 27, .k = 24}, random);
    check_step({.precision = precision, .images = 5, .patches = 64, .n = 72, .k = 32, .live = 3}, random);
  }
}

TEST("gemm: a shape the kernel cannot serve is refused in words") {
  const auto refused = [](const Gemm& g, GemmCore core) {
    try {
      gemm(g, nullptr, core);
    } catch (const signstep::rt::Failure& failure) {
      return failure.kind == signstep::rt::Failure::Kind::invalid && failure.message.find("gemm") != std::string::npos;
    }
    return false;
  };
  const Values some(std::vector<float>(64 * 64, 1), Precision::bf16);
  Gemm g;
  g.a = some.data(), g.b = some.data(), g.out = some.data(), g.rows = 64, g.n = 64, g.k = 0;
  EXPECT(refused(g, GemmCore::mma));
  g.k = 60;
  EXPECT(refused(g, GemmCore::wgmma));
  g.k = 64;
  g.n = 60;
  EXPECT(refused(g, GemmCore::wgmma));
  g.n = 64;
  g.a_map = {.group = 4, .stride = 5, .offset = 1};
  EXPECT(refused(g, GemmCore::wgmma));
  g.a_map = {};
  g.epilogue = Epilogue::gelu_erf_backward;
  EXPECT(refused(g, GemmCore::mma));
  g.aux = some.data(), g.residual = some.data();
  EXPECT(refused(g, GemmCore::mma));
  g.epilogue = Epilogue::silu;
  EXPECT(refused(g, GemmCore::mma));
  g.residual = nullptr;
  g.epilogue = Epilogue::step_linf;
  EXPECT(refused(g, GemmCore::mma));
}

TEST("gemm: the wgmma core gives every epilogue, tile and ragged size the mma core gives") {
  std::mt19937 random(21);
  for (Precision precision : k16Bit) {
    check({.rows = 128, .n = 128, .k = 64, .precision = precision, .bias = false, .core = GemmCore::wgmma}, random, 2);
    check({.rows = 197 * 2, .n = 80, .k = 48, .precision = precision, .scale = true, .residual = true, .core = GemmCore::wgmma}, random, 2);
    check({.rows = 130, .n = 200, .k = 328, .epilogue = Epilogue::gelu_erf, .precision = precision, .core = GemmCore::wgmma}, random, 2);
    check({.rows = 300, .n = 264, .k = 72, .epilogue = Epilogue::gelu_erf_backward, .precision = precision, .bias = false,
           .core = GemmCore::wgmma},
          random, 2);
    check({.rows = 129, .n = 24, .k = 200, .epilogue = Epilogue::store_float, .precision = precision, .core = GemmCore::wgmma}, random, 2);
    check({.rows = 16 * 9, .n = 72, .k = 48, .precision = precision, .table = true,
           .out_map = {.group = 16, .stride = 17, .offset = 1}, .core = GemmCore::wgmma},
          random, 2);
    check_step({.precision = precision, .images = 6, .patches = 25, .n = 48, .k = 40, .wgmma_columns = 128}, random);
    check_step({.precision = precision, .images = 6, .patches = 50, .n = 136, .k = 40, .live = 5, .wgmma_columns = 256}, random);
  }
}

TEST("gemm: every tile of the wgmma core, with more tiles than blocks and more of K than stages") {
  std::mt19937 random(22);
  for (int tile_columns : {128, 192, 256}) {
    check({.rows = 128 * 7 + 5, .n = 328, .k = 72, .precision = Precision::bf16, .residual = true, .tile_columns = tile_columns}, random, 2);
    check({.rows = 300, .n = 200, .k = 456, .epilogue = Epilogue::gelu_erf, .precision = Precision::fp16, .tile_columns = tile_columns}, random);
    check({.rows = 520, .n = 136, .k = 40, .epilogue = Epilogue::gelu_erf_backward, .precision = Precision::bf16, .bias = false,
           .live = 3, .rows_per_image = 104, .tile_columns = tile_columns},
          random, 2);
  }
}

#if defined(SIGNSTEP_SIM)
TEST("gemm: no two lanes meet in a bank of shared memory, but where elements are loaded one by one") {
  std::mt19937 random(23);
  signstep::sim::take_statistics();
  for (Precision precision : kPrecisions) {
    check({.rows = 70, .n = 72, .k = 72, .precision = precision, .residual = true}, random, 2);
    check({.rows = 256, .n = 256, .k = 72, .precision = precision, .residual = true}, random, 2);
  }
  for (int tile_columns : {128, 192, 256})
    check({.rows = 200, .n = 264, .k = 72, .epilogue = Epilogue::gelu_erf_backward, .bias = false, .tile_columns = tile_columns}, random, 2);
  std::uint64_t accesses = 0, conflicts = 0;
  for (const auto& [kernel, counted] : signstep::sim::take_statistics()) {
    if (kernel.find("gemm") == std::string::npos) continue;
    accesses += counted.loads + counted.stores;
    conflicts += counted.load_conflicts + counted.store_conflicts;
  }
  EXPECT(accesses > 10000);
  EXPECT(conflicts == 0);
}
#endif

TEST("gemm: the choice of kernel is a function of the shape") {
  const GemmDevice h100{.has_wgmma = true, .multiprocessors = 132}, a100{.has_wgmma = false, .multiprocessors = 108};
  const auto config = [](const GemmDevice& device, std::int64_t rows, int n, int k, Precision precision = Precision::bf16, bool aligned = true,
                         bool identity = true, bool steps = false) {
    return choose_gemm({precision, rows, n, k, aligned, identity, n % 8 == 0, steps}, device);
  };
  const auto is = [](const GemmConfig& c, GemmCore core, int rows, int columns) {
    return c.core == core && c.tile_rows == rows && c.tile_columns == columns;
  };
  EXPECT(is(config(h100, 197 * 128, 768, 768), GemmCore::wgmma, 128, 192));
  EXPECT(is(config(h100, 197 * 128, 3072, 768), GemmCore::wgmma, 128, 192));
  EXPECT(is(config(h100, 197 * 128, 768, 3072), GemmCore::wgmma, 128, 192));
  EXPECT(is(config(h100, 197, 768, 768), GemmCore::mma, 64, 64));
  EXPECT(config(h100, 196 * 128, 768, 768, Precision::bf16, true, true, true).tile_columns != 192);
  EXPECT(is(config(a100, 197 * 128, 768, 768), GemmCore::mma, 128, 128));
  EXPECT(is(config(a100, 197, 192, 192), GemmCore::mma, 64, 64));
  EXPECT(is(config(h100, 128, 10, 768), GemmCore::mma, 64, 64));
  EXPECT(config(h100, 197 * 128, 768, 768, Precision::float32).core == GemmCore::mma);
  EXPECT(config(h100, 197 * 128, 768, 768, Precision::bf16, true, false).core == GemmCore::mma);
  EXPECT(!config(h100, 197 * 128, 768, 27, Precision::bf16, false).aligned);
}
