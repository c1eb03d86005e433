#include "check_step.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "extent.h"
#include "gemm_epilogue.h"
#include "operands.h"

namespace signstep::program {
namespace {

constexpr std::int64_t kInt32 = std::numeric_limits<std::int32_t>::max();
constexpr int kRank = 6;

// Operands of kernels::Function: 1, 2 or 3; 0 for a number that is none.
int operand_count(Dim function) {
  if (function >= 0 && function <= 27) return 1;
  if ((function >= 40 && function <= 51) || (function >= 60 && function <= 64)) return 2;
  return function == 80 || function == 81 ? 3 : 0;
}
constexpr Dim kReductions = 7;  // kernels::Reduction

class StepCheck {
 public:
  StepCheck(const Program& program, const Step& step, std::int64_t batch) : program_(program), step_(step), batch_(batch) {}

  void run() {
    if (op_name(step_.op) == nullptr) refuse("op", "an operation", std::to_string(static_cast<std::uint32_t>(step_.op)));
    if (std::memchr(step_.name, 0, kNameBytes) == nullptr) refuse("name", "at most 63 bytes and a zero", "64 bytes");
    for (const float value : step_.floats)
      if (std::isnan(value)) refuse("floats", "numbers", "NaN");
    // Those too that this step does not read: an engine may compute with them.
    for (const Dim value : step_.ints) bounded(value);
    if (step_.op == Op::gemm && !is_epilogue(step_.ints[3])) refuse("epilogue", "0 to 11 or 13 to 15", std::to_string(step_.ints[3]));
    if (step_.op == Op::convolution && (!is_epilogue(step_.ints[2]) || step_.ints[2] >= kNormBackward)) refuse("epilogue", "0 to 11", std::to_string(step_.ints[2]));
    check_operands();
    switch (step_.op) {
      case Op::gemm: return gemm();
      case Op::layer_norm: return layer_norm();
      case Op::layer_norm_backward: return layer_norm_backward();
      case Op::attention: return attention();
      case Op::attention_backward: return attention_backward();
      case Op::elementwise: return elementwise();
      case Op::reduce: return reduce();
      case Op::copy: return copy();
      case Op::softmax: return softmax(2);
      case Op::softmax_backward: return softmax(3);
      case Op::batched_matmul: return batched_matmul();
      case Op::gather: return gather(false);
      case Op::scatter_add: return gather(true);
      case Op::fill: return fill();
      case Op::loss: return loss();
      case Op::row_statistics: return row_statistics();
      case Op::convolution: return convolution();
      case Op::max_pool:
      case Op::max_pool_backward:
      case Op::average_pool:
      case Op::average_pool_backward: return pool();
    }
  }

 private:
  [[noreturn]] static void refuse(const std::string& what, const std::string& expected, const std::string& found) {
    throw PlanError{what + ": expected " + expected + ", found " + found};
  }

  bool given(int slot) const { return step_.buffers[slot] != kNone; }
  const Buffer& buffer(int slot) const { return program_.buffers[static_cast<std::size_t>(step_.buffers[slot])]; }

  // Indices in range, what must be there there, nothing else, and no buffer both read and written except where a kernel goes element by
  // element.
  void check_operands() {
    bool known[kBuffers] = {};
    for (const StepOperand& operand : operands(step_)) {
      known[operand.slot] = true;
      const std::int32_t index = step_.buffers[operand.slot];
      if (index == kNone) {
        if (!operand.optional) refuse(operand.name, "a buffer", "none");
        continue;
      }
      if (index < 0 || static_cast<std::size_t>(index) >= program_.buffers.size())
        refuse(operand.name, "a buffer below " + std::to_string(program_.buffers.size()), std::to_string(index));
      if (operand.access == Access::write) {
        if (buffer(operand.slot).storage != Storage::activation) refuse(operand.name, "an activation to write to", "a constant");
        if (index == program_.header.input) refuse(operand.name, "an activation to write to", "the input");
      }
    }
    for (int slot = 0; slot < kBuffers; ++slot)
      if (!known[slot] && step_.buffers[slot] != kNone)
        refuse("operand " + std::to_string(slot), "none", "buffer " + std::to_string(step_.buffers[slot]));
    for (const StepOperand& out : operands(step_)) {
      if (out.access != Access::write || !given(out.slot)) continue;
      for (const StepOperand& in : operands(step_)) {
        if (in.slot == out.slot || step_.buffers[in.slot] != step_.buffers[out.slot]) continue;
        if (in.access == Access::read ? in_place(in.slot) : together(in.slot, out.slot)) continue;
        refuse(out.name, std::string("another buffer than ") + in.name, "the same");
      }
    }
  }
  // Read at the very element that is written, by the thread that writes it.
  bool in_place(int slot) const {
    switch (step_.op) {
      case Op::gemm:
      case Op::convolution: return slot == 5 || slot == 6;
      case Op::layer_norm_backward: return slot == 4;
      case Op::elementwise: return contiguous(slot);
      default: return false;
    }
  }
  // Gradients of queries, keys and values lie in one buffer as these do.
  bool together(int a, int b) const { return step_.op == Op::attention_backward && a >= 6 && b >= 6; }

  std::int64_t integer(int index, const char* name, std::int64_t low, std::int64_t high) const {
    const std::int64_t value = extent(step_.ints[index], batch_);
    if (value < low || value > high)
      refuse(name, std::to_string(low) + " to " + std::to_string(high), std::to_string(value));
    return value;
  }
  std::int64_t size(int index, const char* name) const { return integer(index, name, 1, kInt32); }
  std::int64_t count(int index, const char* name) const { return integer(index, name, 1, kMostElements); }
  std::int64_t stride(int index, const char* name) const { return integer(index, name, 0, kMostElements); }
  bool flag(int index, const char* name) const { return integer(index, name, 0, 1) == 1; }
  // Whether rows of finished images may be left out: then the rows must be as many for every image.
  void live(int index) const {
    if (flag(index, "live") && step_.ints[0] >= 0) refuse("rows or images", "a multiple of the batch, as `live` says", std::to_string(step_.ints[0]));
  }

  void holds(int slot, const char* name, std::int64_t elements) const {
    const std::int64_t found = extent(buffer(slot).elements, batch_);
    if (found < elements)
      refuse(name, "at least " + std::to_string(elements) + " elements at batch " + std::to_string(batch_), std::to_string(found));
  }
  static const char* type_name(ElementType type) {
    return type == ElementType::value ? "value" : type == ElementType::float32 ? "float32" : "int32";
  }
  void typed(int slot, const char* name, ElementType type) const {
    if (buffer(slot).type != type) refuse(name, type_name(type), type_name(buffer(slot).type));
  }
  void floating(int slot, const char* name) const {
    if (buffer(slot).type == ElementType::int32) refuse(name, "value or float32", "int32");
  }
  void value(int slot, const char* name, std::int64_t elements) const {
    typed(slot, name, ElementType::value);
    holds(slot, name, elements);
  }
  void float32(int slot, const char* name, std::int64_t elements) const {
    typed(slot, name, ElementType::float32);
    holds(slot, name, elements);
  }

  // Rows of the stored matrix that `rows` logical ones reach, with the row map whose first int stands at `index`.
  std::int64_t stored_rows(std::int64_t rows, int index, const char* name) const {
    const std::int64_t group = integer(index, name, 0, kInt32), step = integer(index + 1, name, 0, kInt32),
                       offset = integer(index + 2, name, 0, kInt32);
    if (group == 0) {
      if (step != 0 || offset != 0) refuse(name, "no stride and offset without groups", std::to_string(step) + ", " + std::to_string(offset));
      return rows;
    }
    const std::int64_t groups = (rows - 1) / group;
    std::int64_t last = plus(plus(times(groups, step), offset), (rows - 1) % group);
    if (groups > 0) last = std::max(last, plus(plus(times(groups - 1, step), offset), group - 1));
    return last + 1;
  }

  // The constant operand of a product.
  void weight(std::int64_t n, std::int64_t k) const {
    typed(1, "b", ElementType::value);
    const Buffer& b = buffer(1);
    if (b.storage == Storage::activation) refuse("b", "a constant", "an activation");
    if (b.elements != times(n, k)) refuse("b", std::to_string(n) + " x " + std::to_string(k) + " elements", std::to_string(b.elements));
    if (b.storage == Storage::transposed && (b.rows != k || b.columns != n))
      refuse("b", std::to_string(k) + " x " + std::to_string(n) + " to transpose", std::to_string(b.rows) + " x " + std::to_string(b.columns));
  }
  // What a product's epilogue writes and reads, of `rows` rows of the product's results.
  void results(Dim epilogue, std::int64_t rows, std::int64_t n) const {
    if (epilogue == kSwiglu && n % 2 != 0) refuse("n", "pairs of columns", std::to_string(n));
    const std::int64_t width = epilogue == kSwigluBackward ? 2 * n : n;  // of aux and of its bias
    const std::int64_t all = times(rows, width), out = epilogue == kSwiglu ? all / 2 : all;
    typed(2, "out", epilogue == kStoreFloat ? ElementType::float32 : ElementType::value);
    holds(2, "out", out);
    if (given(3)) float32(3, "bias", width);
    if (given(4)) float32(4, "scale", n);
    if (given(5)) value(5, "residual", out);
    if (given(6)) value(6, "aux", all);
  }

  void gemm() const {
    const std::int64_t rows = count(0, "rows"), n = size(1, "n"), k = size(2, "k");
    const Dim epilogue = step_.ints[3];
    value(0, "a", times(stored_rows(rows, 4, "a_group"), k));
    weight(n, k);
    results(epilogue, stored_rows(rows, 7, "out_group"), n);
    if (given(7)) {
      const std::int64_t group = integer(7, "out_group", 1, kInt32);
      float32(7, "table", times(group, n));
    }
    live(10);
    folded_norm(rows, n, k, epilogue);
  }
  // LayerNorm folded into a product.
  void folded_norm(std::int64_t rows, std::int64_t n, std::int64_t k, Dim epilogue) const {
    const bool backward = epilogue == kNormBackward;
    flag(11, "rms");
    if (given(8)) {
      if (step_.ints[4] != 0 || step_.ints[7] != 0) refuse("norm_statistics", "no row maps", "groups of rows");
      float32(8, "norm_statistics", statistics_of(rows, backward ? n : k));
      epsilon();
    }
    if (given(9)) {
      if (!given(8)) refuse("column_sums", "norm_statistics beside it", "none");
      float32(9, "column_sums", n);
      if (buffer(9).storage != Storage::row_sums) refuse("column_sums", "row sums", "another buffer");
    }
    if (given(10)) {
      if (epilogue != kStore) refuse("statistics", "the epilogue store", std::to_string(epilogue));
      float32(10, "statistics", statistics_of(stored_rows(rows, 7, "out_group"), n));
    }
    if (!given(11)) return;
    if (backward)
      float32(11, "dots", times(rows, size(12, "dot_parts")));
    else
      float32(11, "dots", times(stored_rows(rows, 7, "out_group"), parts_of(n)));
  }
  static std::int64_t parts_of(std::int64_t columns) { return (columns + kStatisticsColumns - 1) / kStatisticsColumns; }
  static std::int64_t statistics_of(std::int64_t rows, std::int64_t columns) { return times(rows, 2 * parts_of(columns)); }
  void epsilon() const {
    if (!(step_.floats[0] >= 0) || std::isinf(step_.floats[0])) refuse("epsilon", "0 or more", std::to_string(step_.floats[0]));
  }

  void row_statistics() const {
    const std::int64_t rows = count(0, "rows"), columns = size(1, "columns");
    flag(2, "rms");
    live(3);
    value(0, "x", times(rows, columns));
    float32(1, "statistics", statistics_of(rows, columns));
  }

  struct Window {
    std::int64_t pixels, channels, positions, taps;
  };
  // The window whose 13 ints begin at `index`. It may begin anywhere, but no pixel's number may overflow. Its first pixel is a plain number,
  // negative where there is padding.
  Window window(int index) const {
    static constexpr const char* kNames[] = {"height", "width", "channels", "rows_y", "rows_x", "stride_y", "stride_x",
                                             "first_y", "first_x", "taps_y", "taps_x", "step_y", "step_x"};
    std::int64_t values[13];
    for (int i = 0; i < 13; ++i) {
      const bool first = i == 7 || i == 8;
      const std::int64_t found = step_.ints[index + i], low = first ? -kInt32 : 1;
      if (found < low || found > kInt32) refuse(kNames[i], std::to_string(low) + " to " + std::to_string(kInt32), std::to_string(found));
      values[i] = found;
    }
    for (const int axis : {0, 1}) {
      const std::int64_t last = plus(plus(values[7 + axis], times(values[3 + axis] - 1, values[5 + axis])), times(values[9 + axis] - 1, values[11 + axis]));
      if (last > kInt32) refuse(kNames[7 + axis], "no pixel beyond 2^31", std::to_string(last));
    }
    return {times(values[0], values[1]), values[2], times(values[3], values[4]), times(values[9], values[10])};
  }
  // Pixels of the images into which the positions of the window at `window` are written, by the grid whose 6 ints begin at `index`.
  std::int64_t grid(int index, int window) const {
    std::int64_t pixels = 1;
    for (const int axis : {0, 1}) {
      const auto fixed = [&](int at, const char* name, std::int64_t low) {
        const std::int64_t found = step_.ints[at];
        if (found < low || found > kInt32) refuse(name, std::to_string(low) + " to " + std::to_string(kInt32), std::to_string(found));
        return found;
      };
      const std::int64_t size = fixed(index + axis, axis == 0 ? "grid height" : "grid width", 1);
      const std::int64_t stride = fixed(index + 2 + axis, "grid stride", 1), first = fixed(index + 4 + axis, "first of the grid", 0);
      const std::int64_t last = plus(first, times(step_.ints[window + 3 + axis] - 1, stride));
      if (last >= size) refuse("grid", "positions below " + std::to_string(size), std::to_string(last));
      pixels = times(pixels, size);
    }
    return pixels;
  }

  void convolution() const {
    const std::int64_t images = count(0, "images"), n = size(1, "n");
    const Window seen = window(4);
    value(0, "a", times(times(images, seen.pixels), seen.channels));
    const std::int64_t k = times(seen.taps, seen.channels);
    if (k > kInt32) refuse("taps x channels", "at most " + std::to_string(kInt32), std::to_string(k));
    weight(n, k);
    results(step_.ints[2], times(images, grid(17, 4)), n);
    live(3);
  }

  void pool() const {
    const std::int64_t images = count(0, "images");
    const Window seen = window(2);
    live(1);
    const std::int64_t pixels = times(times(images, seen.pixels), seen.channels);
    const std::int64_t positions = times(times(images, seen.positions), seen.channels);
    const bool backward = step_.op == Op::max_pool_backward || step_.op == Op::average_pool_backward;
    for (const StepOperand& operand : operands(step_)) {
      // The gradient of the result, or the result: an element for each position of the window. All else has one for each pixel.
      const bool small = backward ? std::strcmp(operand.name, "dy") == 0 : operand.access == Access::write;
      value(operand.slot, operand.name, small ? positions : pixels);
    }
    if (step_.op == Op::average_pool || step_.op == Op::average_pool_backward) flag(15, "whole");
  }

  void layer_norm() const {
    const std::int64_t rows = count(0, "rows"), all = times(rows, size(1, "columns"));
    flag(2, "rms");
    live(3);
    epsilon();
    value(0, "x", all);
    value(1, "y", all);
    float32(2, "rstd", rows);
  }

  void layer_norm_backward() const {
    const std::int64_t rows = count(0, "rows"), all = times(rows, size(1, "columns"));
    flag(2, "rms");
    live(3);
    value(0, "dy", all);
    value(1, "y", all);
    if (given(2) == given(5)) refuse("rstd", "either it or statistics", given(2) ? "both" : "neither");
    if (given(2)) float32(2, "rstd", rows);
    if (given(5)) {
      float32(5, "statistics", statistics_of(rows, size(1, "columns")));
      epsilon();
    }
    value(3, "dx", all);
    if (given(4)) value(4, "addend", all);
  }

  // Elements up to the last one that an operand of attention with so many rows reaches; its offset and strides begin at `index`.
  std::int64_t attention_extent(int index, std::int64_t rows, const char* name) const {
    std::int64_t last = stride(index, name);
    last = plus(last, times(extent(step_.ints[0], batch_) - 1, stride(index + 1, name)));
    last = plus(last, times(extent(step_.ints[1], batch_) - 1, stride(index + 2, name)));
    last = plus(last, times(rows - 1, stride(index + 3, name)));
    return plus(last, extent(step_.ints[3], batch_));
  }
  std::int64_t attention_queries() const { return step_.ints[20] == 0 ? size(2, "length") : size(20, "queries"); }
  void attention() const {
    const std::int64_t images = size(0, "batch"), heads = size(1, "heads"), length = size(2, "length");
    size(3, "head_size");
    if (!std::isfinite(step_.floats[0])) refuse("scale", "a finite number", std::to_string(step_.floats[0]));
    const std::int64_t queries = attention_queries();
    value(0, "q", attention_extent(4, queries, "q"));
    value(1, "k", attention_extent(8, length, "k"));
    value(2, "v", attention_extent(12, length, "v"));
    value(3, "out", attention_extent(16, queries, "out"));
    float32(4, "lse", times(times(images, heads), queries));
  }
  void attention_backward() const {
    attention();
    const std::int64_t queries = attention_queries(), length = size(2, "length");
    value(5, "dout", attention_extent(16, queries, "out"));
    value(6, "dq", attention_extent(4, queries, "q"));
    value(7, "dk", attention_extent(8, length, "k"));
    value(8, "dv", attention_extent(12, length, "v"));
  }

  int rank(int index) const { return static_cast<int>(integer(index, "rank", 1, kRank)); }
  std::int64_t volume(int dims, int rank) const {
    std::int64_t all = 1;
    for (int axis = 0; axis < rank; ++axis) all = times(all, count(dims + axis, "dims"));
    return all;
  }
  // Elements up to the last one that strides from `strides` on reach over the dims from `dims` on.
  std::int64_t strided(int dims, int strides, int rank, const char* name) const {
    std::int64_t last = 0;
    for (int axis = 0; axis < rank; ++axis)
      last = plus(last, times(extent(step_.ints[dims + axis], batch_) - 1, stride(strides + axis, name)));
    return last + 1;
  }
  // Whether operand `slot` of an elementwise step is read in the order in which the result is written.
  bool contiguous(int slot) const {
    if (step_.ints[25 + slot] != 0) return false;
    const std::int64_t axes = extent(step_.ints[1], batch_);
    std::int64_t expected = 1;
    for (std::int64_t axis = std::min<std::int64_t>(axes, kRank) - 1; axis >= 0; --axis) {
      const std::int64_t dim = extent(step_.ints[2 + axis], batch_);
      if (dim != 1 && extent(step_.ints[2 + kRank * slot + axis], batch_) != expected) return false;
      expected = times(expected, dim);
    }
    return true;
  }

  void elementwise() const {
    const int inputs = operand_count(step_.ints[0]);
    if (inputs == 0) refuse("function", "one of kernels::Function", std::to_string(step_.ints[0]));
    const int axes = rank(1);
    floating(0, "out");
    holds(0, "out", volume(2, axes));
    static constexpr const char* kNames[] = {"a", "b", "c"};
    for (int i = 0; i < 3; ++i) {
      if (given(1 + i) != (i < inputs)) refuse(kNames[i], i < inputs ? "a buffer" : "none", i < inputs ? "none" : "a buffer");
      if (i >= inputs) continue;
      floating(1 + i, kNames[i]);
      holds(1 + i, kNames[i], plus(strided(2, 2 + kRank * (1 + i), axes, kNames[i]), stride(26 + i, "offset")));
    }
  }

  void reduce() const {
    integer(0, "function", 0, kReductions - 1);
    const int axes = rank(1);
    const std::int64_t reduced = integer(14, "reduced", 0, (1 << axes) - 1);
    floating(0, "out");
    floating(1, "in");
    volume(2, axes);
    std::int64_t kept = 1;
    for (int axis = 0; axis < axes; ++axis)
      if ((reduced >> axis & 1) == 0) kept = times(kept, extent(step_.ints[2 + axis], batch_));
    holds(0, "out", kept);
    holds(1, "in", plus(strided(2, 8, axes, "in"), stride(15, "offset of in")));
  }

  void copy() const {
    const int axes = rank(0);
    volume(1, axes);
    floating(0, "out");
    floating(1, "in");
    holds(0, "out", plus(strided(1, 13, axes, "out"), stride(20, "offset of out")));
    holds(1, "in", plus(strided(1, 7, axes, "in"), stride(19, "offset of in")));
  }

  void softmax(int buffers) const {
    const std::int64_t all = times(count(0, "rows"), size(1, "columns"));
    static constexpr const char* kForward[] = {"out", "in"};
    static constexpr const char* kBackward[] = {"dx", "y", "dy"};
    for (int slot = 0; slot < buffers; ++slot) value(slot, buffers == 2 ? kForward[slot] : kBackward[slot], all);
  }

  void batched_matmul() const {
    const std::int64_t m = size(0, "m"), n = size(1, "n"), k = size(2, "k");
    const std::int64_t matrices = volume(3, 3);
    if (!std::isfinite(step_.floats[0])) refuse("alpha", "a finite number", std::to_string(step_.floats[0]));
    floating(0, "out");
    holds(0, "out", times(matrices, times(m, n)));
    const auto reached = [&](int strides, const char* name, std::int64_t rows, std::int64_t columns) {
      const std::int64_t within = plus(times(rows - 1, stride(strides + 3, name)), times(columns - 1, stride(strides + 4, name)));
      return plus(strided(3, strides, 3, name), within);
    };
    floating(1, "a");
    floating(2, "b");
    holds(1, "a", plus(reached(6, "a", m, k), stride(16, "offset of a")));
    holds(2, "b", plus(reached(11, "b", k, n), stride(17, "offset of b")));
  }

  void gather(bool scatter) const {
    const std::int64_t outer = count(0, "outer"), axis = size(1, "axis length"), inner = count(2, "inner"), taken = size(3, "count");
    const std::int64_t whole = times(times(outer, axis), inner), part = times(times(outer, taken), inner);
    floating(0, "out");
    floating(1, "in");
    if (buffer(0).type != buffer(1).type) refuse("out", type_name(buffer(1).type), type_name(buffer(0).type));
    holds(0, "out", scatter ? whole : part);
    holds(1, "in", scatter ? part : whole);
    typed(2, "indices", ElementType::int32);
    const Buffer& indices = buffer(2);
    if (indices.storage != Storage::as_is) refuse("indices", "a constant", "another buffer");
    holds(2, "indices", taken);
    for (std::int64_t i = 0; i < taken; ++i) {
      std::int32_t index;
      std::memcpy(&index, program_.data + indices.data + 4 * static_cast<std::uint64_t>(i), 4);
      if (index < 0 || index >= axis) refuse("indices", "0 to " + std::to_string(axis - 1), std::to_string(index));
    }
  }

  void fill() const {
    floating(0, "out");
    holds(0, "out", count(0, "elements"));
  }

  void loss() const {
    const Header& header = program_.header;
    const auto same = [&](int index, const char* name, std::int64_t expected) { integer(index, name, expected, expected); };
    same(0, "classes", header.classes);
    same(1, "loss", static_cast<std::int64_t>(header.loss));
    same(2, "targeted", header.targeted);
    if (step_.buffers[0] != header.logits) refuse("logits", "the program's", "buffer " + std::to_string(step_.buffers[0]));
    value(1, "dlogits", times(batch_, header.classes));
  }

  const Program& program_;
  const Step& step_;
  const std::int64_t batch_;
};

}  // namespace

void check_step(const Program& program, const Step& step, std::int64_t batch, const std::string& where) {
  try {
    StepCheck(program, step, batch).run();
  } catch (const PlanError& error) {
    std::string named = where;
    if (const char* op = op_name(step.op)) named += std::string(" (") + op;
    else named += " (?";
    const std::string name(step.name, strnlen(step.name, kNameBytes));
    if (!name.empty()) named += " '" + name + "'";
    throw PlanError{named + "): " + error.message};
  }
}

void check_steps(const Program& program, const std::vector<Step>& steps, std::int64_t batch, const char* which) {
  std::vector<bool> written(program.buffers.size());
  for (std::size_t i = 0; i < written.size(); ++i) written[i] = program.buffers[i].storage != Storage::activation;
  written[static_cast<std::size_t>(program.header.input)] = true;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const Step& step = steps[i];
    const std::string where = std::string(which) + " step " + std::to_string(i);
    check_step(program, step, batch, where);
    for (const StepOperand& operand : operands(step)) {
      const std::int32_t index = step.buffers[operand.slot];
      if (index == kNone) continue;
      if (operand.access == Access::read && !written[static_cast<std::size_t>(index)])
        throw PlanError{where + " (" + op_name(step.op) + " '" + step.name + "'): " + operand.name + ": expected a buffer written before, found buffer " +
                        std::to_string(index)};
    }
    for (const StepOperand& operand : operands(step))
      if (operand.access == Access::write && step.buffers[operand.slot] != kNone)
        written[static_cast<std::size_t>(step.buffers[operand.slot])] = true;
  }
}

}  // namespace signstep::program
