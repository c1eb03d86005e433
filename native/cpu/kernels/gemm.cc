// gemm() on the processor: tasks of some hundred rows by one panel of 64 columns, each of which packs its panel of b and multiplies it by
// blocks of 6 rows of a, read where they lie.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>

#include "../launch.h"
#include "gemm_epilogue.h"
#include "gemm_kernel.h"
#include "gemm_pack.h"

namespace signstep::kernels {
namespace {

// Units of k a panel holds: 256 KB of it beside the rows of a (384 KB at most) stay in a second cache of 1 MB.
constexpr std::size_t kUnits = 1024;
constexpr std::int64_t kRowBytes = 384 << 10;
constexpr std::int64_t kMostBlocks = 64;
// Packing a panel takes as long as this many blocks of rows.
constexpr std::int64_t kPackBlocks = 1;

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// What a thread works in.
struct alignas(64) Scratch {
  std::int32_t panel[kUnits * kPanelColumns];
  float tile[kMostBlocks * kBlockRows * kPanelColumns];  // sums between two parts of k
  std::byte rows[kBlockRows * kUnits * 4];
};
Scratch& scratch() {
  thread_local const std::unique_ptr<Scratch> own(new Scratch);
  return *own;
}

[[noreturn]] void refuse(const Gemm& g, const std::string& why) {
  throw rt::Failure{rt::Failure::Kind::invalid, "gemm " + std::to_string(g.rows) + " x " + std::to_string(g.n) + " x " + std::to_string(g.k) +
                                                    " (rows, n, k): " + why};
}

void check(const Gemm& g) {
  if (g.precision == Precision::fp16) refuse(g, "the processor computes in bf16 and float32, not in fp16");
  if (g.rows < 0 || g.n < 1 || g.k < 1) refuse(g, "n and k must be at least 1");
  if (g.epilogue == Epilogue::step_linf) {
    if (g.live.rows_per_image <= 0) refuse(g, "step_linf needs live.rows_per_image");
    if (g.out_map.group != 0) refuse(g, "step_linf has no row map");
    const PatchStep& s = g.step;
    if (s.x == nullptr || s.x0 == nullptr || s.operand == nullptr || s.alpha == nullptr || s.eps == nullptr || s.nan_count == nullptr ||
        s.nonzero == nullptr)
      refuse(g, "step_linf lacks an array");
    return;
  }
  if (g.out == nullptr) refuse(g, "no output");
  if (g.table != nullptr && g.out_map.group == 0) refuse(g, "a table needs the group of the output's row map");
  if (is_store(g.epilogue)) return;
  if (g.table != nullptr || g.scale != nullptr || g.residual != nullptr) refuse(g, "this epilogue has no scale, residual or table");
  if (!is_activation(g.epilogue) && g.aux == nullptr) refuse(g, "the derivative needs the pre-activation");
}

// How many blocks of rows a task takes: the fewest rounds of all threads, packing included.
std::int64_t blocks_a_task(std::int64_t blocks, std::int64_t panels, std::int64_t row_bytes) {
  const std::int64_t threads = ThreadPool::instance().threads();
  const std::int64_t most = std::clamp<std::int64_t>(kRowBytes / (row_bytes * kBlockRows), 8, kMostBlocks);
  const std::int64_t fewest = ceil_div(blocks, most);
  std::int64_t best = most, least = INT64_MAX;
  for (std::int64_t chunks = fewest; chunks <= std::min(blocks, fewest + 4 * threads); ++chunks) {
    const std::int64_t each = ceil_div(blocks, chunks);
    const std::int64_t cost = ceil_div(ceil_div(blocks, each) * panels, threads) * (each + kPackBlocks);
    if (cost < least) best = each, least = cost;
  }
  return best;
}

template <bool kFloat>
void multiply(int vectors, const std::byte* const (&a)[kBlockRows], const std::int32_t* panel, std::size_t units, bool first, float* tile) {
  switch (vectors) {
    case 1: return multiply_block<kFloat, 1>(a, panel, units, first, tile);
    case 2: return multiply_block<kFloat, 2>(a, panel, units, first, tile);
    case 3: return multiply_block<kFloat, 3>(a, panel, units, first, tile);
    default: return multiply_block<kFloat, 4>(a, panel, units, first, tile);
  }
}

template <class T>
class Task {
 public:
  Task(const Gemm& g, std::int64_t first, std::int64_t last, int column)
      : g_(g), first_(first), last_(last), column_(column), columns_(std::min(kPanelColumns, g.n - column)) {}

  void run() const {
    Scratch& own = scratch();
    const std::size_t row_bytes = static_cast<std::size_t>(g_.k) * sizeof(T), part_bytes = kUnits * 4;
    const std::byte* b = static_cast<const std::byte*>(g_.b) + static_cast<std::size_t>(column_) * row_bytes;
    for (std::size_t from = 0; from < row_bytes; from += part_bytes) {
      const std::size_t bytes = std::min(part_bytes, row_bytes - from);
      pack_panel(b + from, row_bytes, columns_, bytes, own.panel);
      for (std::int64_t row = first_; row < last_; row += kBlockRows) {
        float* tile = own.tile + (row_bytes <= part_bytes ? 0 : (row - first_) * kPanelColumns);
        multiply_rows(own, row, from, bytes, tile);
        if (from + bytes == row_bytes)
          finish_block<T>(g_, {row, static_cast<int>(std::min<std::int64_t>(kBlockRows, last_ - row)), column_, columns_, tile});
      }
    }
  }

 private:
  // Rows beyond the last are the last one again: computed, not stored.
  void multiply_rows(Scratch& own, std::int64_t row, std::size_t from, std::size_t bytes, float* tile) const {
    const std::byte* a[kBlockRows];
    for (int r = 0; r < kBlockRows; ++r) {
      const std::int64_t at = mapped_row(g_.a_map, std::min(row + r, last_ - 1)) * g_.k;
      a[r] = reinterpret_cast<const std::byte*>(static_cast<const T*>(g_.a) + at) + from;
    }
    if (bytes % 4 != 0) pad_rows(a, bytes, own.rows);
    multiply<sizeof(T) == 4>((columns_ + kVector - 1) / kVector, a, own.panel, (bytes + 3) / 4, from == 0, tile);
  }

  const Gemm& g_;
  const std::int64_t first_, last_;
  const int column_, columns_;
};

template <class T>
void run(const Gemm& g) {
  std::int64_t rows = g.rows;
  if (g.live.count != nullptr && g.live.rows_per_image > 0) rows = std::min(rows, std::int64_t{*g.live.count} * g.live.rows_per_image);
  if (rows <= 0) return;
  const std::int64_t panels = ceil_div(g.n, kPanelColumns), blocks = ceil_div(rows, kBlockRows);
  const std::int64_t each = blocks_a_task(blocks, panels, std::int64_t{g.k} * static_cast<std::int64_t>(sizeof(T))) * kBlockRows;
  // Tasks of the same rows follow each other: they find them in the cache.
  cpu::parallel(static_cast<std::size_t>(ceil_div(rows, each) * panels), [&](std::size_t i) {
    const std::int64_t chunk = static_cast<std::int64_t>(i) / panels, panel = static_cast<std::int64_t>(i) % panels;
    Task<T>(g, chunk * each, std::min(rows, (chunk + 1) * each), static_cast<int>(panel) * kPanelColumns).run();
  });
}

}  // namespace

void gemm(const Gemm& g, rt::Stream stream) {
  check(g);
  if (g.rows == 0) return;
  cpu::submit(stream, [g] { g.precision == Precision::float32 ? run<float>(g) : run<Bf16>(g); });
}

}  // namespace signstep::kernels
