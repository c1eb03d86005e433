// The work of gemm() and convolution(): tasks of some hundred rows by some panels of 64 columns, each of which packs its panels of b and
// multiplies them by blocks of 6 rows of a. Where these rows lie is said by a layout:
//   std::size_t bytes_from(std::size_t from)   how many bytes of a row from byte `from` on are taken together: at most kUnits * 4
//   Cursor at(std::int64_t row)                a row, from which void advance(Cursor&) goes to the next one
//   BlockOperand rows(Scratch&, Cursor, int count, from, bytes)   these bytes of 6 rows; those beyond `count` are the last one again
//   void places(Cursor, int count, std::int64_t* out)             the rows of the result that these are
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "../launch.h"
#include "gemm_epilogue.h"
#include "gemm_kernel.h"
#include "gemm_pack.h"
#include "gemm_rows.h"

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
  std::byte rows[kBlockRows * kUnits * 4 + 64];  // and what the store of a whole vector may write beyond
  const std::byte* pieces[kUnits][kBlockRows];
};
inline Scratch& scratch() {
  thread_local const std::unique_ptr<Scratch> own(new Scratch);
  return *own;
}

struct TaskSize {
  std::int64_t blocks, panels;
};

// The task with which all threads need the fewest rounds, packing included.
inline TaskSize choose_task(std::int64_t blocks, std::int64_t panels, std::int64_t row_bytes) {
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
void multiply(int vectors, const BlockOperand& a, const std::int32_t* panel, bool first, float* tile) {
  switch (vectors) {
    case 1: return multiply_block<kFloat, 1>(a, panel, first, tile);
    case 2: return multiply_block<kFloat, 2>(a, panel, first, tile);
    case 3: return multiply_block<kFloat, 3>(a, panel, first, tile);
    default: return multiply_block<kFloat, 4>(a, panel, first, tile);
  }
}

// Rows [first_row, last_row) and columns [first_column, last_column) of the result.
struct Part {
  std::int64_t first_row, last_row;
  int first_column, last_column;
};

template <class T, class Layout>
class Task {
 public:
  Task(const Gemm& g, const Layout& layout, const Part& part) : g_(g), layout_(layout), part_(part) {}

  void run() const {
    Scratch& own = scratch();
    const std::size_t row_bytes = static_cast<std::size_t>(g_.k) * sizeof(T);
    for (std::size_t from = 0; from < row_bytes;) {
      const std::size_t bytes = layout_.bytes_from(from);
      pack(own, row_bytes, from, bytes);
      auto cursor = layout_.at(part_.first_row);
      for (std::int64_t row = part_.first_row; row < part_.last_row; row += kBlockRows) {
        float* tile = own.tile + (bytes == row_bytes ? 0 : (row - part_.first_row) * kPanelColumns);
        multiply_rows(own, row, cursor, from, bytes, tile);
        for (int r = 0; r < kBlockRows; ++r) layout_.advance(cursor);
      }
      from += bytes;
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

  // A block of rows by all panels, over the bytes [from, from + bytes) of k: those beyond the last row are computed, not stored.
  template <class Cursor>
  void multiply_rows(Scratch& own, std::int64_t row, const Cursor& cursor, std::size_t from, std::size_t bytes, float* tile) const {
    const bool last = from + bytes == static_cast<std::size_t>(g_.k) * sizeof(T);
    Block block{row, {}, static_cast<int>(std::min<std::int64_t>(kBlockRows, part_.last_row - row)), 0, 0, tile};
    const bool rich = last && is_rich(g_);
    BlockRows of;
    if (rich) of.prepare(g_, row, block.rows);
    const BlockOperand a = layout_.rows(own, cursor, block.rows, from, bytes);
    if (last) layout_.places(cursor, block.rows, block.places);
    for_panels(own, bytes, [&](int column, int columns, const std::int32_t* panel) {
      block.column = column;
      block.columns = columns;
      if (last) fetch_block<T>(g_, block);
      multiply<sizeof(T) == 4>((columns + kVector - 1) / kVector, a, panel, from == 0, tile);
      if (rich)
        finish_rich<T>(g_, block, of, tile);
      else if (last)
        finish_block<T>(g_, block);
    });
  }

  const Gemm& g_;
  const Layout& layout_;
  const Part part_;
};

// The rows that are computed: all but those of finished images.
inline std::int64_t rows_under_attack(const Gemm& g) {
  const bool all = g.live.count == nullptr || g.live.rows_per_image <= 0;
  return all ? g.rows : std::min(g.rows, std::int64_t{*g.live.count} * g.live.rows_per_image);
}

// All of them, on all threads.
template <class T, class Layout>
void run_tasks(const Gemm& g, const Layout& layout) {
  const std::int64_t rows = rows_under_attack(g);
  if (rows <= 0) return;
  const std::int64_t panels = ceil_div(g.n, kPanelColumns);
  const TaskSize task = choose_task(ceil_div(rows, kBlockRows), panels, std::int64_t{g.k} * static_cast<std::int64_t>(sizeof(T)));
  const std::int64_t task_rows = task.blocks * kBlockRows, task_columns = task.panels * kPanelColumns;
  const std::int64_t groups = ceil_div(panels, task.panels);
  // Tasks of the same rows follow each other: they find them in the cache.
  cpu::parallel(static_cast<std::size_t>(ceil_div(rows, task_rows) * groups), [&](std::size_t i) {
    const auto task_index = static_cast<std::int64_t>(i);
    const std::int64_t row = task_index / groups * task_rows, column = task_index % groups * task_columns;
    const Part part{row, std::min(rows, row + task_rows), static_cast<int>(column),
                    static_cast<int>(std::min<std::int64_t>(g.n, column + task_columns))};
    Task<T, Layout>(g, layout, part).run();
  });
}

}  // namespace
}  // namespace signstep::kernels
