// quantise_rows() against a plain oracle, bit by bit; gemm() of what it makes against float64 products of the same quantised operands, on both
// cores.
#include <algorithm>
#include <bit>

#include "../../cuda/kernels/gemm_dispatch.h"
#include "device_case.h"

using namespace device_case;
using signstep::kernels::Epilogue;
using signstep::kernels::Gemm;
using signstep::kernels::gemm;
using signstep::kernels::GemmConfig;
using signstep::kernels::GemmCore;
using signstep::kernels::GemmDevice;
using signstep::kernels::quantise_rows;
using signstep::kernels::QuantiseRows;
using signstep::kernels::RowMap;

namespace {

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

constexpr std::uint8_t kNan = 0x7F;
bool is_nan(std::uint8_t bits) { return (bits & 0x7F) == kNan; }

double value_of(std::uint8_t bits) {
  if (is_nan(bits)) return std::numeric_limits<double>::quiet_NaN();
  const int exponent = bits >> 3 & 15, mantissa = bits & 7;
  const double magnitude = exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
  return (bits & 0x80) != 0 ? -magnitude : magnitude;
}

// By trying them all: the nearest, of two the one that is even, the largest for what is beyond.
std::uint8_t nearest(float value) {
  if (std::isnan(value)) return kNan;
  const double magnitude = std::fabs(static_cast<double>(value));
  int best = 0;
  for (int bits = 1; bits < 0x7F; bits++) {
    const double now = std::fabs(value_of(static_cast<std::uint8_t>(bits)) - magnitude), before = std::fabs(value_of(static_cast<std::uint8_t>(best)) - magnitude);
    if (now < before || (now == before && bits % 2 == 0)) best = bits;
  }
  return static_cast<std::uint8_t>(best | (std::signbit(value) ? 0x80 : 0));
}

struct Quantised {
  std::vector<std::uint8_t> elements;
  std::vector<float> scale;

  double at(std::size_t row, std::size_t column, std::size_t columns) const {
    return value_of(elements[row * columns + column]) * scale[row];
  }
};

Quantised oracle(const std::vector<float>& values, std::size_t columns) {
  Quantised out;
  for (std::size_t row = 0; row * columns < values.size(); row++) {
    const float* own = values.data() + row * columns;
    float greatest = 0;
    for (std::size_t i = 0; i < columns; i++)
      if (std::fabs(own[i]) > greatest) greatest = std::fabs(own[i]);
    const float divisor = std::max(greatest, 0x1p-110f);
    out.scale.push_back(greatest > 0 ? divisor / 448.0f : 0.0f);
    const float inverse = greatest > 0 ? 448.0f / divisor : 0.0f;
    for (std::size_t i = 0; i < columns; i++) out.elements.push_back(nearest(own[i] * inverse));
  }
  return out;
}

bool same_elements(const std::vector<std::uint8_t>& a, const std::vector<std::uint8_t>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](std::uint8_t x, std::uint8_t y) { return x == y || (is_nan(x) && is_nan(y)); });
}

std::int64_t mapped(const RowMap& map, std::int64_t row) {
  return map.group == 0 ? row : row / map.group * map.stride + map.offset + row % map.group;
}

// Rows `rows` of `values`, in the precision's own rounding.
void check_rows(std::vector<float> values, std::int64_t rows, std::int32_t columns, Precision precision, const RowMap& map = {}) {
  for (float& v : values) v = rounded(v, precision);
  std::vector<float> logical;
  for (std::int64_t r = 0; r < rows; r++) {
    const float* from = values.data() + size(mapped(map, r)) * size(columns);
    logical.insert(logical.end(), from, from + columns);
  }
  const Quantised expected = oracle(logical, size(columns));
  const Values in(values, precision);
  under_schedules([&](int) {
    const Array<std::uint8_t> out(logical.size());
    const Array<float> scale(size(rows));
    quantise_rows({precision, in.data(), out.data(), scale.data(), rows, columns, map, {}}, nullptr);
    EXPECT(same_elements(out.host(), expected.elements));
    EXPECT(test::same_bits(scale.host(), expected.scale));
  });
}

// ---- products ----------------------------------------------------------------------------------------------------------------------------

struct Problem {
  std::int64_t rows;
  int n, k;
  Epilogue epilogue = Epilogue::store;
  bool residual = false;
  RowMap out_map = {};
  int live = -1, rows_per_image = 0;
  GemmConfig config = {GemmCore::mma, 64, 128, true};
};
constexpr GemmConfig kMma = {GemmCore::mma, 64, 128, true}, kWgmma128 = {GemmCore::wgmma, 128, 128, true},
                     kWgmma192 = {GemmCore::wgmma, 128, 192, true};

#if defined(SIGNSTEP_SIM)
const std::vector<GemmConfig> kCores = {kMma, kWgmma128, kWgmma192};
// The simulator adds up in float32.
constexpr double kAccumulator = 0;
#else
// By mma.sync only where there is no wgmma. The sum of 128 products in 13 bits of mantissa, cut off: at most a unit, 2^-12, of the greatest
// of a sum of random signs a product, where rounding to bf16 makes 2^-9.
const std::vector<GemmConfig> kCores =
    signstep::rt::this_device().compute_capability == 90 ? std::vector<GemmConfig>{kWgmma128, kWgmma192} : std::vector<GemmConfig>{kMma};
constexpr double kAccumulator = 1e-2;
#endif

bool on_this_device() { return signstep::kernels::has_e4m3(signstep::rt::this_device().compute_capability); }

double gelu_slope(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)) + x * std::exp(-x * x / 2) / std::sqrt(2 * std::acos(-1.0)); }

void check(const Problem& p, std::mt19937& random, int schedules = 4) {
  if (!on_this_device()) return;
  const std::size_t n = size(p.n), k = size(p.k), rows = size(p.rows);
  const std::size_t stored = (size(mapped(p.out_map, p.rows - 1)) + 1) * n;
  const Quantised a = oracle(normal(rows, k, random, 0.3f, 1, 37), k), b = oracle(normal(n, k, random, 0.01f, 1 / std::sqrt(static_cast<float>(k))), k);
  const std::vector<float> bias = normal(1, n, random, 0.1f);
  std::vector<float> extra = normal(1, stored, random, 0.2f, 2);
  for (float& v : extra) v = rounded(v, Precision::bf16);
  const std::size_t alive = p.live < 0 ? rows : std::min(rows, size(p.live) * size(p.rows_per_image));
  std::vector<double> exact;
  std::vector<std::size_t> written;
  for (std::size_t r = 0; r < alive; r++)
    for (std::size_t c = 0; c < n; c++) {
      double sum = 0;
      for (std::size_t i = 0; i < k; i++) sum += a.at(r, i, k) * b.at(c, i, k);
      const std::size_t at = size(mapped(p.out_map, static_cast<std::int64_t>(r))) * n + c;
      if (p.epilogue == Epilogue::gelu_erf_backward)
        sum *= gelu_slope(extra[at]);
      else
        sum += bias[c] + (p.residual ? extra[at] : 0);
      if (p.epilogue == Epilogue::gelu_erf) sum *= 0.5 * std::erfc(-sum / std::sqrt(2.0));
      exact.push_back(sum);
      written.push_back(at);
    }
  const Array<std::uint8_t> device_a(a.elements), device_b(b.elements);
  const Array<float> a_scale(a.scale), b_scale(b.scale), device_bias(bias);
  const Values device_extra(extra, Precision::bf16);
  const Array<std::int32_t> live(std::vector<std::int32_t>{p.live});
  under_schedules(
      [&](int) {
        const Values out(stored, Precision::bf16);
        Gemm g;
        g.a = device_a.data(), g.b = device_b.data(), g.a_scale = a_scale.data(), g.b_scale = b_scale.data();
        g.out = out.data(), g.rows = p.rows, g.n = p.n, g.k = p.k, g.epilogue = p.epilogue, g.out_map = p.out_map;
        if (p.epilogue == Epilogue::gelu_erf_backward)
          g.aux = device_extra.data();
        else
          g.bias = device_bias.data();
        if (p.residual) g.residual = device_extra.data();
        if (p.live >= 0) g.live = {live.data(), p.rows_per_image};
        gemm(g, nullptr, p.config);
        const std::vector<float> result = out.host();
        std::vector<float> found;
        for (const std::size_t at : written) found.push_back(result[at]);
        const double error = relative_error(found, exact), bound = 2 * rounding_error(exact, Precision::bf16) + kAccumulator;
        if (!(error <= bound)) std::printf("  %lldx%dx%d, tile %d: error %.3g, bound %.3g\n", static_cast<long long>(p.rows), p.n, p.k, p.config.tile_columns, error, bound);
        EXPECT(error <= bound);
      },
      schedules);
}

}  // namespace

TEST("quantise_rows: every row is its greatest magnitude and 448ths, rounded to nearest even") {
  if (!on_this_device()) return;
  std::mt19937 random(31);
  for (const Precision precision : {Precision::bf16, Precision::float32}) {
    for (const std::int32_t columns : {16, 64, 192, 768, 1024, 3072, 6400})
      check_rows(normal(11, size(columns), random, 0.3f, 1, 37), 11, columns, precision);
    check_rows(normal(3 * 17, 64, random), 3 * 16, 64, precision, {.group = 16, .stride = 17, .offset = 1});
  }
}

TEST("quantise_rows: zeros, tiny and huge rows, halves, subnormals, NaN and infinities") {
  if (!on_this_device()) return;
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  const auto row = [](std::initializer_list<float> values) {
    std::vector<float> out(values);
    out.resize(16, 0.0f);
    return out;
  };
  std::vector<float> values;
  for (const auto& own : {
           row({}), row({-0.0f}),
           row({448, -448, 0x1p-6f, 0x1p-9f, 0x1p-10f, 0x1.8p-10f, -0x1p-9f, 17, 18, 19, 25, 27, 0x1.9p-7f}),  // scale 1: halves, subnormals
           row({3e38f, -3e38f, 1e36f, 1}), row({1e-38f, -1e-38f, 1e-39f}), row({1e-33f, 3e-34f}),
           row({nan, 1, -2}), row({infinity, 1, -2}), row({-infinity, nan, 1}), row({nan}),
       })
    values.insert(values.end(), own.begin(), own.end());
  const auto rows = static_cast<std::int64_t>(values.size() / 16);
  for (const Precision precision : {Precision::bf16, Precision::float32}) check_rows(values, rows, 16, precision);

  const Values in(values, Precision::float32);
  const Array<std::uint8_t> out(values.size());
  const Array<float> scale(size(rows));
  quantise_rows({Precision::float32, in.data(), out.data(), scale.data(), rows, 16, {}, {}}, nullptr);
  const std::vector<std::uint8_t> elements = out.host();
  const std::vector<float> scales = scale.host();
  EXPECT(scales[0] == 0 && elements[0] == 0);
  EXPECT(scales[2] == 1 && elements[32] == 0x7E && elements[33] == 0xFE && elements[35] == 1 && elements[36] == 0 && elements[37] == 1);
  for (std::size_t r = 0; r < size(rows); r++) {
    const bool broken = r >= 6;
    EXPECT(std::any_of(elements.begin() + static_cast<std::ptrdiff_t>(r * 16), elements.begin() + static_cast<std::ptrdiff_t>(r * 16 + 16), is_nan) == broken);
  }
}

TEST("quantise_rows: rows of finished images are left alone") {
  if (!on_this_device()) return;
  std::mt19937 random(32);
  const Values in(normal(12, 64, random), Precision::bf16);
  const Array<std::uint8_t> out(12 * 64);
  const Array<float> scale(12);
  const Array<std::int32_t> live(std::vector<std::int32_t>{2});
  quantise_rows({Precision::bf16, in.data(), out.data(), scale.data(), 12, 64, {}, {live.data(), 3}}, nullptr);
  const std::vector<float> scales = scale.host();
  for (std::size_t r = 0; r < 12; r++) EXPECT(std::isnan(scales[r]) == (r >= 6));
}

TEST("gemm in e4m3: every tile at sizes that fill it and sizes that do not, K beside the stages and the parts of the sum") {
  std::mt19937 random(33);
  for (const GemmConfig& config : kCores) {
    check({.rows = 128, .n = 192, .k = 128, .config = config}, random, 4);
    check({.rows = 197, .n = 72, .k = 80, .residual = true, .config = config}, random, 4);
    check({.rows = 1, .n = 8, .k = 16, .config = config}, random, 2);
    check({.rows = 128 * 3 + 5, .n = 328, .k = 208, .config = config}, random, 2);
    check({.rows = 70, .n = 136, .k = 1040, .config = config}, random, 2);
  }
}

TEST("gemm in e4m3: epilogues see the product in its own units") {
  std::mt19937 random(34);
  for (const GemmConfig& config : kCores) {
    check({.rows = 130, .n = 200, .k = 144, .epilogue = Epilogue::gelu_erf, .config = config}, random, 2);
    check({.rows = 130, .n = 72, .k = 272, .epilogue = Epilogue::gelu_erf_backward, .config = config}, random, 2);
    check({.rows = 16 * 9, .n = 72, .k = 64, .residual = true, .out_map = {.group = 16, .stride = 17, .offset = 1}, .config = config}, random, 2);
    check({.rows = 8 * 50, .n = 72, .k = 64, .live = 3, .rows_per_image = 50, .config = config}, random, 2);
  }
}

TEST("gemm in e4m3: a NaN stays in its row") {
  if (!on_this_device()) return;
  std::mt19937 random(35);
  Quantised a = oracle(normal(130, 64, random), 64);
  const Quantised b = oracle(normal(72, 64, random), 64);
  a.elements[7 * 64 + 5] = kNan;
  const Array<std::uint8_t> device_a(a.elements), device_b(b.elements);
  const Array<float> a_scale(a.scale), b_scale(b.scale);
  for (const GemmConfig& config : kCores) {
    const Values out(130 * 72, Precision::bf16);
    Gemm g;
    g.a = device_a.data(), g.b = device_b.data(), g.a_scale = a_scale.data(), g.b_scale = b_scale.data();
    g.out = out.data(), g.rows = 130, g.n = 72, g.k = 64;
    gemm(g, nullptr, config);
    const std::vector<float> found = out.host();
    bool right = true;
    for (std::size_t i = 0; i < found.size(); i++) right = right && std::isnan(found[i]) == (i / 72 == 7);
    EXPECT(right);
  }
}

TEST("gemm in e4m3: what it cannot serve is refused in words") {
  if (!on_this_device()) return;
  const Array<std::uint8_t> bytes(64 * 64);
  const Array<float> scale(64);
  const Values out(64 * 64, Precision::bf16);
  const auto refused = [&](auto&& change) {
    Gemm g;
    g.a = bytes.data(), g.b = bytes.data(), g.a_scale = scale.data(), g.b_scale = scale.data();
    g.out = out.data(), g.rows = 64, g.n = 64, g.k = 64;
    change(g);
    try {
      gemm(g, nullptr);
    } catch (const signstep::rt::Failure& failure) {
      return failure.kind == signstep::rt::Failure::Kind::invalid && failure.message.find("e4m3") != std::string::npos;
    }
    return false;
  };
  EXPECT(refused([](Gemm& g) { g.b_scale = nullptr; }));
  EXPECT(refused([](Gemm& g) { g.k = 40; }));
  EXPECT(refused([](Gemm& g) { g.n = 60; }));
  EXPECT(refused([](Gemm& g) { g.precision = Precision::float32; }));
  EXPECT(refused([](Gemm& g) { g.a_map = {.group = 4, .stride = 5, .offset = 1}; }));
  EXPECT(!refused([](Gemm&) {}));
}

TEST("gemm in e4m3: by wgmma where there is one, whatever the size, else by mma.sync; elsewhere not at all") {
  const GemmDevice h100{.has_wgmma = true, .multiprocessors = 132}, ada{.has_wgmma = false, .multiprocessors = 128};
  const auto config = [](const GemmDevice& device, std::int64_t rows, int n, int k) {
    return signstep::kernels::choose_gemm({.rows = rows, .n = n, .k = k, .aligned = true, .identity_rows = true, .whole_runs = true, .quantised = true}, device);
  };
  EXPECT(config(h100, 197 * 128, 768, 768).tile_columns == 192);
  EXPECT(config(h100, 197, 768, 768).core == GemmCore::wgmma);
  EXPECT(config(ada, 197 * 128, 768, 768).core == GemmCore::mma);
  for (const std::uint32_t capability : {0u, 75u, 80u, 86u, 87u, 100u, 103u, 110u}) EXPECT(!signstep::kernels::has_e4m3(capability));
  for (const std::uint32_t capability : {89u, 90u, 120u, 121u}) EXPECT(signstep::kernels::has_e4m3(capability));
}
