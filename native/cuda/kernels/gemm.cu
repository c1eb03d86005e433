// gemm(): checks, chooses the kernel, launches it.
#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <string>

#include "gemm_launch.h"
#include "product_faults.h"

namespace signstep::kernels {

namespace {

constexpr std::uint32_t kHasWgmma = 90;  // sm_90a code runs on 9.0 only

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

[[noreturn]] void refuse(const GemmShape& s, const std::string& why) { refuse_gemm(s.rows, s.n, s.k, why); }

// What a tile costs, in cycles, roughly: so many for 64 columns of K, so many to write its results.
struct Candidate {
  GemmConfig config;
  std::int64_t per_64_of_k, results;
};

// wgmma: 128 x n x 64 take 4n cycles where the L2 cache delivers the operands in time; a narrow tile needs more of them a product (64, 53, 48
// bytes a cycle at n = 128, 192, 256), so it is charged. The results of one warpgroup take about 1,500 cycles for 16 rows and 64 columns.
constexpr Candidate kWgmmaTogether = {{GemmCore::wgmma, 128, 256, true}, 1090, 8000};
constexpr Candidate kWgmmaInTurns[] = {
    {{GemmCore::wgmma, 128, 192, true}, 850, 9000},
    {{GemmCore::wgmma, 128, 128, true}, 640, 6000},
};
constexpr Candidate kMma16[] = {
    {{GemmCore::mma, 128, 128, true}, 1900, 4000},
    {{GemmCore::mma, 64, 64, true}, 640, 1500},
};
constexpr Candidate kMma32[] = {
    {{GemmCore::mma, 128, 64, true}, 8000, 4000},
    {{GemmCore::mma, 64, 64, true}, 4800, 1500},
};

// e4m3: half the cycles and half the bytes of 16-bit types, and a quarter more for adding up in float32. Not measured.
constexpr Candidate kWgmmaE4m3[] = {
    {{GemmCore::wgmma, 128, 192, true}, 530, 9000},
    {{GemmCore::wgmma, 128, 128, true}, 400, 6000},
};
constexpr GemmConfig kMmaE4m3 = {GemmCore::mma, 64, 128, true};

struct Work {
  std::int64_t tiles_a_multiprocessor, product, results;  // of a tile
};

Work work(const Candidate& c, const GemmShape& shape, const GemmDevice& device) {
  const std::int64_t tiles = ceil_div(shape.rows, c.config.tile_rows) * ceil_div(shape.n, c.config.tile_columns);
  return {ceil_div(tiles, device.multiprocessors), ceil_div(shape.k, 64) * c.per_64_of_k, c.results};
}

std::int64_t cycles_together(const Work& w) { return w.tiles_a_multiprocessor * (w.product + w.results); }

// Results are written while the other warpgroup multiplies, but for the last.
std::int64_t cycles_in_turns(const Work& w) {
  return w.tiles_a_multiprocessor * std::max(w.product, (w.product + w.results) / 2) + w.results;
}

// Two blocks share a multiprocessor: two tiles take about as long as one and a half.
std::int64_t cycles_side_by_side(const Work& w) {
  return (w.tiles_a_multiprocessor * 3 + 1) / 4 * (w.product + w.results);
}

struct Best {
  GemmConfig config;
  std::int64_t cycles = -1;

  void consider(const Candidate& candidate, std::int64_t cycles_of_it) {
    if (cycles >= 0 && cycles <= cycles_of_it) return;
    config = candidate.config;
    cycles = cycles_of_it;
  }
};

bool on_16_bytes(std::initializer_list<const void*> pointers) {
  return std::all_of(pointers.begin(), pointers.end(), [](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; });
}

bool is_quantised(const Gemm& g) { return g.a_scale != nullptr || g.b_scale != nullptr; }
std::size_t operand_bytes(const Gemm& g) { return is_quantised(g) ? 1 : bytes_of(g.precision); }

std::int64_t stored_rows(const RowMap& map, std::int64_t rows) {
  if (map.group == 0 || rows == 0) return rows;
  const std::int64_t last = rows - 1;
  return last / map.group * map.stride + map.offset + last % map.group + 1;
}

void check(const Gemm& g, const GemmShape& shape) {
  constexpr std::int64_t kMost = std::int64_t{1} << 31;
  refuse_faulty(g);
  if (stored_rows(g.a_map, g.rows) >= kMost - 256 || stored_rows(g.out_map, g.rows) >= kMost - 256) refuse(shape, "more than 2^31 rows");
  if (shape.quantised) {
    if (g.a_scale == nullptr || g.b_scale == nullptr) refuse(shape, "operands in e4m3 have a scale each");
    if (!shape.aligned || !shape.identity_rows || !shape.whole_runs || shape.steps || g.precision != Precision::bf16)
      refuse(shape, "e4m3 needs bf16 values, k in multiples of 16 and n of 8, arrays on 16 bytes, no row map of a and no step");
    if (!has_e4m3(rt::this_device().compute_capability)) refuse(shape, "this device has no products in e4m3");
  }
  // Loads count in chunks of 16 bytes where aligned, else in elements.
  const std::int64_t unit = shape.aligned ? 16 / static_cast<std::int64_t>(operand_bytes(g)) : 1;
  if (std::max(stored_rows(g.a_map, g.rows), std::int64_t{g.n}) * g.k / unit >= kMost * 2) refuse(shape, "an operand has too many elements");
}

GemmShape shape_of(const Gemm& g) {
  const bool aligned = on_16_bytes({g.a, g.b}) && static_cast<std::size_t>(g.k) * operand_bytes(g) % 16 == 0;
  return {g.precision, g.rows, g.n, g.k, aligned, g.a_map.group == 0, has_whole_runs(g), g.epilogue == Epilogue::step_linf,
          is_rich(g), is_quantised(g)};
}

void require_wgmma(const GemmShape& shape, const GemmDevice& device) {
  if (!device.has_wgmma) refuse(shape, "this device has no wgmma");
  if (!wgmma_serves(shape))
    refuse(shape, "the wgmma core needs 16-bit types, n and k in multiples of 8, arrays on 16 bytes and no row map of a");
}

}  // namespace

bool has_whole_runs(const Gemm& g) {
  return g.n % 8 == 0 && on_16_bytes({g.out, g.bias, g.scale, g.table, g.residual, g.aux, g.b_scale, g.norm.column_sums, g.step.x, g.step.x0,
                                      g.step.operand});
}

GemmDevice this_gemm_device() {
  const rt::DeviceInfo& info = rt::this_device();
  return {info.compute_capability == kHasWgmma, static_cast<std::int32_t>(info.multiprocessors)};
}

GemmArgs gemm_args(const Gemm& g) {
  GemmArgs args{};
  args.a = g.a;
  args.b = g.b;
  args.rows = static_cast<std::int32_t>(g.rows);
  args.k = g.k;
  args.a_map = g.a_map;
  args.live = g.live;
  EpilogueArgs& e = args.epilogue;
  e.kind = g.epilogue;
  e.n = g.n;
  e.rows_per_image = g.live.rows_per_image;
  e.out_map = g.out_map;
  e.out = g.out;
  e.bias = g.bias;
  e.scale = g.scale;
  e.table = g.table;
  e.a_scale = g.a_scale;
  e.b_scale = g.b_scale;
  e.step = g.step;
  const bool norm_backward = g.epilogue == Epilogue::norm_backward;
  if (is_activation(g.epilogue)) {
    e.aux = g.aux;
    e.extra = g.residual;
  } else if (is_store(g.epilogue) || norm_backward) {
    e.extra = g.residual;
  } else if (g.epilogue != Epilogue::step_linf) {
    e.extra = g.aux;
    e.addend = g.residual;
  }
  e.vector = has_whole_runs(g);
  e.norm_statistics = g.norm.statistics;
  e.column_sums = g.norm.column_sums;
  e.epsilon = g.norm.epsilon;
  e.norm_columns = norm_backward ? g.n : g.k;
  if (norm_backward) e.second = g.aux;
  if (g.epilogue == Epilogue::swiglu_backward) e.second = static_cast<const std::byte*>(g.aux) + 8 * bytes_of(g.precision);
  e.statistics = g.statistics;
  e.rms = g.rms;
  e.dots = g.dots;
  e.dot_parts = g.dot_parts;
  return args;
}

namespace {

void run(const Gemm& g, const GemmConfig& config, rt::Stream stream) {
  if (g.rows == 0) return;
  const GemmArgs args = gemm_args(g);
  if (is_quantised(g))
    launch_gemm_e4m3(config, args, this_gemm_device(), stream);
  else if (config.core == GemmCore::wgmma)
    launch_gemm_wgmma(g.precision, config, args, this_gemm_device(), stream);
  else if (g.precision == Precision::bf16)
    launch_gemm_bf16(config, args, stream);
  else if (g.precision == Precision::fp16)
    launch_gemm_fp16(config, args, stream);
  else
    launch_gemm_float32(config, args, stream);
}

}  // namespace

// Where there is an instruction for them (ptx/gpu.h) that a kernel here uses.
bool has_e4m3(std::uint32_t capability) { return capability == 89 || capability == 90 || capability / 10 == 12; }

bool wgmma_serves(const GemmShape& shape) {
  return shape.precision != Precision::float32 && shape.aligned && shape.identity_rows && shape.whole_runs;
}

GemmConfig choose_gemm(const GemmShape& shape, const GemmDevice& device, GemmCore wanted) {
  if (wanted == GemmCore::wgmma) require_wgmma(shape, device);
  if (!shape.aligned) return {GemmCore::mma, 64, 64, false};
  Best best;
  if (shape.quantised) {
    if (wanted != GemmCore::mma && device.has_wgmma)  // which has no other instruction for them
      for (const Candidate& c : kWgmmaE4m3) best.consider(c, cycles_together(work(c, shape, device)));
    else
      best.config = kMmaE4m3;
    return best.config;
  }
  if (wanted != GemmCore::mma && device.has_wgmma && wgmma_serves(shape)) {
    best.consider(kWgmmaTogether, cycles_together(work(kWgmmaTogether, shape, device)));
    for (const Candidate& c : kWgmmaInTurns)
      if (c.config.tile_columns != 192 || !(shape.steps || shape.rich)) best.consider(c, cycles_in_turns(work(c, shape, device)));
  }
  if (wanted != GemmCore::wgmma)
    for (const Candidate& c : shape.precision == Precision::float32 ? kMma32 : kMma16)
      best.consider(c, cycles_side_by_side(work(c, shape, device)));
  return best.config;
}

void gemm(const Gemm& g, rt::Stream stream, GemmCore wanted) {
  const GemmShape shape = shape_of(g);
  check(g, shape);
#if defined(SIGNSTEP_SIM)
  if (wanted == GemmCore::automatic) wanted = GemmCore::mma;
#endif
  run(g, choose_gemm(shape, this_gemm_device(), wanted), stream);
}

void gemm(const Gemm& g, rt::Stream stream, const GemmConfig& config) {
  const GemmShape shape = shape_of(g);
  check(g, shape);
  if (config.core == GemmCore::wgmma) require_wgmma(shape, this_gemm_device());
  if (config.core == GemmCore::wgmma && (shape.steps || shape.rich) && !shape.quantised && config.tile_columns == 192)
    refuse(shape, "step_linf, a folded LayerNorm and gated activations have no 128 x 192 kernel");
#if !defined(SIGNSTEP_SIM)
  if (shape.quantised && config.core == GemmCore::mma && this_gemm_device().has_wgmma) refuse(shape, "products in e4m3 are by wgmma on this device");
#endif
  if (config.aligned && !shape.aligned) refuse(shape, "this kernel needs aligned operands");
  run(g, config, stream);
}

void gemm(const Gemm& g, rt::Stream stream) { gemm(g, stream, GemmCore::automatic); }

}  // namespace signstep::kernels
