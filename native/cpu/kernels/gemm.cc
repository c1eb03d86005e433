// gemm() on the processor: tasks of some hundred rows by some panels of 64 columns, each of which packs its panels of b and multiplies them
// by blocks of 6 rows of a, read where they lie.
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

// The panels of a task, in units of k: 256 KB of them stay in a second cache of 1 MB. One panel where k is that long or longer, else so
// many that long pieces of rows of the result are written at a time: rows apart come from memory slowly (8320 x 192 x 768 with the
// derivative of GELU: 200 GFLOP/s of 2 cores with one panel a task, 265 with six).
constexpr std::size_t kUnits = 1024;
constexpr std::int64_t kMostBlocks = 64;  // of a task: the rows of a come in order, from any cache
// Packing panels takes as long as multiplying them by this many blocks of rows.
constexpr std::int64_t kPackBlocks = 1;

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// What a thread works in.
struct alignas(64) Scratch {
  std::int32_t panels[kUnits * kPanelColumns];
  float tile[kMostBlocks * kBlockRows * kPanelColumns];  // sums between two parts of k
  std::byte rows[kBlockRows * kUnits * 4];
};
Scratch& scratch() {
  thread_local const std::unique_ptr<Scratch> own(new Scratch);
  return *own;
}

[[noreturn]] void refuse(const Gemm& g, const std::string& why) {
  const std::string shape = std::to_string(g.rows) + " x " + std::to_string(g.n) + " x " + std::to_string(g.k) + " (rows, n, k)";
  throw rt::Failure{rt::Failure::Kind::invalid, "gemm " + shape + ": " + why};
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

struct TaskSize {
  std::int64_t blocks, panels;
};

// The task with which all threads need the fewest rounds, packing included.
TaskSize choose_task(std::int64_t blocks, std::int64_t panels, std::int64_t row_bytes) {
  const std::int64_t threads = ThreadPool::instance().threads();
  const std::int64_t most_panels = std::max<std::int64_t>(1, static_cast<std::int64_t>(kUnits) / ceil_div(row_bytes, 4));
  const std::int64_t fewest = ceil_div(blocks, kMostBlocks);
  TaskSize best{};
  std::int64_t least = INT64_MAX;
  for (const std::int64_t groups : {ceil_div(panels, most_panels), panels})
    for (std::int64_t chunks = fewest; chunks <= std::min(blocks, fewest + 4 * threads); ++chunks) {
      const TaskSize task{ceil_div(blocks, chunks), ceil_div(panels, groups)};
      const std::int64_t tasks = ceil_div(blocks, task.blocks) * ceil_div(panels, task.panels);
      const std::int64_t cost = ceil_div(tasks, threads) * (task.blocks + kPackBlocks) * task.panels;
      if (cost < least) best = task, least = cost;
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

// Rows [first_row, last_row) and columns [first_column, last_column) of the result.
struct Part {
  std::int64_t first_row, last_row;
  int first_column, last_column;
};

template <class T>
class Task {
 public:
  Task(const Gemm& g, const Part& part) : g_(g), part_(part) {}

  void run() const {
    Scratch& own = scratch();
    const std::size_t row_bytes = static_cast<std::size_t>(g_.k) * sizeof(T), most = kUnits * 4;
    for (std::size_t from = 0; from < row_bytes; from += most) {
      const std::size_t bytes = std::min(most, row_bytes - from);
      pack(own, row_bytes, from, bytes);
      for (std::int64_t row = part_.first_row; row < part_.last_row; row += kBlockRows) {
        float* tile = own.tile + (row_bytes <= most ? 0 : (row - part_.first_row) * kPanelColumns);
        multiply_rows(own, row, from, bytes, tile);
      }
    }
  }

 private:
  // body(column, columns, panel) for the panels of the task
  template <class Body>
  void for_panels(Scratch& own, std::size_t bytes, const Body& body) const {
    std::int32_t* panel = own.panels;
    for (int column = part_.first_column; column < part_.last_column; column += kPanelColumns) {
      body(column, std::min(kPanelColumns, part_.last_column - column), panel);
      panel += (bytes + 3) / 4 * kPanelColumns;
    }
  }

  void pack(Scratch& own, std::size_t row_bytes, std::size_t from, std::size_t bytes) const {
    for_panels(own, bytes, [&](int column, int columns, std::int32_t* panel) {
      const std::byte* b = static_cast<const std::byte*>(g_.b) + static_cast<std::size_t>(column) * row_bytes + from;
      pack_panel(b, row_bytes, columns, bytes, panel);
    });
  }

  // A block of rows by all panels, over the bytes [from, from + bytes) of k. Rows beyond the last are the last one again: computed, not
  // stored.
  void multiply_rows(Scratch& own, std::int64_t row, std::size_t from, std::size_t bytes, float* tile) const {
    const bool last = from + bytes == static_cast<std::size_t>(g_.k) * sizeof(T);
    const std::byte* a[kBlockRows];
    for (int r = 0; r < kBlockRows; ++r) {
      const std::int64_t at = mapped_row(g_.a_map, std::min(row + r, part_.last_row - 1)) * g_.k;
      a[r] = reinterpret_cast<const std::byte*>(static_cast<const T*>(g_.a) + at) + from;
    }
    if (bytes % 4 != 0) pad_rows(a, bytes, own.rows);
    for_panels(own, bytes, [&](int column, int columns, const std::int32_t* panel) {
      const Block block{row, static_cast<int>(std::min<std::int64_t>(kBlockRows, part_.last_row - row)), column, columns, tile};
      if (last) fetch_block<T>(g_, block);
      multiply<sizeof(T) == 4>((columns + kVector - 1) / kVector, a, panel, (bytes + 3) / 4, from == 0, tile);
      if (last) finish_block<T>(g_, block);
    });
  }

  const Gemm& g_;
  const Part part_;
};

template <class T>
void run(const Gemm& g) {
  std::int64_t rows = g.rows;
  if (g.live.count != nullptr && g.live.rows_per_image > 0) rows = std::min(rows, std::int64_t{*g.live.count} * g.live.rows_per_image);
  if (rows <= 0) return;
  const std::int64_t panels = ceil_div(g.n, kPanelColumns);
  const TaskSize task = choose_task(ceil_div(rows, kBlockRows), panels, std::int64_t{g.k} * static_cast<std::int64_t>(sizeof(T)));
  const std::int64_t task_rows = task.blocks * kBlockRows, task_columns = task.panels * kPanelColumns;
  const std::int64_t groups = ceil_div(panels, task.panels);
  // Tasks of the same rows follow each other: they find them in the cache.
  cpu::parallel(static_cast<std::size_t>(ceil_div(rows, task_rows) * groups), [&](std::size_t i) {
    const auto task_index = static_cast<std::int64_t>(i);
    const std::int64_t row = task_index / groups * task_rows, column = task_index % groups * task_columns;
    Task<T>(g, {row, std::min(rows, row + task_rows), static_cast<int>(column),
                static_cast<int>(std::min<std::int64_t>(g.n, column + task_columns))})
        .run();
  });
}

}  // namespace

void gemm(const Gemm& g, rt::Stream stream) {
  check(g);
  if (g.rows == 0) return;
  cpu::submit(stream, [g] { g.precision == Precision::float32 ? run<float>(g) : run<Bf16>(g); });
}

}  // namespace signstep::kernels
