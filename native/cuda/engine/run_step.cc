#include "run_step.h"

#include "../../core/program/operands.h"
#include "../../core/program/step_shape.h"

#include <cstddef>

namespace signstep::engine {
namespace {

using program::Op;
using program::Step;

// The operands of a step, resolved.
class Arguments {
 public:
  Arguments(const Pass& pass, const Step& step) : pass_(pass), step_(step) {}

  void* pointer(int slot) const {
    const std::int32_t index = step_.buffers[slot];
    return index == program::kNone ? nullptr : (*pass_.pointers)[static_cast<std::size_t>(index)];
  }
  template <class T>
  T* array(int slot) const {
    return static_cast<T*>(pointer(slot));
  }
  // An operand of any element type, from an offset in elements on.
  kernels::Operand operand(int slot, std::int64_t offset = 0) const {
    const std::int32_t index = step_.buffers[slot];
    if (index == program::kNone) return {};
    const program::ElementType type = pass_.program->buffers[static_cast<std::size_t>(index)].type;
    const std::size_t width = type == program::ElementType::value ? kernels::bytes_of(pass_.precision) : 4;
    return {array<std::byte>(slot) + static_cast<std::size_t>(offset) * width, type};
  }
  std::int64_t dim(int i) const { return program::resolve(step_.ints[i], pass_.batch); }
  std::int32_t number(int i) const { return static_cast<std::int32_t>(dim(i)); }
  void dims(int from, int count, std::int64_t* out) const {
    for (int i = 0; i < count; ++i) out[i] = dim(from + i);
  }
  // Rows of images in order, `each` for one of what the step counts: finished images are left out.
  kernels::Live live(int rows, int flag, std::int32_t each = 1) const {
    if (step_.ints[flag] != 1 || step_.ints[rows] >= 0) return {};
    return {pass_.live, static_cast<std::int32_t>(-step_.ints[rows]) * each};
  }

 private:
  const Pass& pass_;
  const Step& step_;
};

// What a matrix product and a convolution have in common.
kernels::Gemm product_of(const Pass& pass, const Step& step) {
  const Arguments at(pass, step);
  kernels::Gemm gemm;
  gemm.precision = pass.precision;
  gemm.a = at.pointer(0);
  gemm.b = at.pointer(1);
  gemm.out = at.pointer(2);
  gemm.bias = at.array<float>(3);
  gemm.scale = at.array<float>(4);
  gemm.residual = at.pointer(5);
  gemm.aux = at.pointer(6);
  gemm.n = at.number(1);
  return gemm;
}

kernels::Gemm gemm_of(const Pass& pass, const Step& step) {
  const Arguments at(pass, step);
  kernels::Gemm gemm = product_of(pass, step);
  gemm.table = at.array<float>(7);
  gemm.rows = at.dim(0);
  gemm.k = at.number(2);
  gemm.epilogue = static_cast<kernels::Epilogue>(step.ints[3]);
  gemm.a_map = {at.number(4), at.number(5), at.number(6)};
  gemm.out_map = {at.number(7), at.number(8), at.number(9)};
  gemm.live = at.live(0, 10);
  gemm.norm = {at.array<float>(8), at.array<float>(9), step.floats[0]};
  gemm.statistics = at.array<float>(10);
  gemm.rms = step.ints[11] != 0;
  gemm.dots = at.array<float>(11);
  gemm.dot_parts = at.number(12);
  return gemm;
}

// A window is made of plain numbers: a negative first pixel is padding, no multiple of the batch.
kernels::Window window_of(const Step& step, int from) {
  kernels::Window window;
  std::int32_t* const fields[] = {&window.height,   &window.width,   &window.channels, &window.rows_y, &window.rows_x, &window.stride_y, &window.stride_x,
                                  &window.first_y,  &window.first_x, &window.taps_y,   &window.taps_x, &window.step_y, &window.step_x};
  for (std::int32_t* const field : fields) *field = static_cast<std::int32_t>(step.ints[from++]);
  return window;
}

kernels::Convolution convolution_of(const Pass& pass, const Step& step) {
  const Arguments at(pass, step);
  kernels::Convolution args;
  args.product = product_of(pass, step);
  args.product.epilogue = static_cast<kernels::Epilogue>(step.ints[2]);
  args.images = at.number(0);
  args.window = window_of(step, 4);
  args.grid = {at.number(17), at.number(18), at.number(19), at.number(20), at.number(21), at.number(22)};
  args.product.live = at.live(0, 3, args.window.rows_y * args.window.rows_x);
  return args;
}

kernels::Pool pool_of(const Pass& pass, const Step& step, bool whole) {
  const Arguments at(pass, step);
  kernels::Pool args;
  args.precision = pass.precision;
  args.images = at.number(0);
  args.window = window_of(step, 2);
  args.whole = whole;
  args.live = at.live(0, 1, args.window.rows_y * args.window.rows_x);
  return args;
}

void run_gemm(const Pass& pass, const Step& step, std::size_t index, rt::Stream stream) {
  kernels::Gemm gemm = gemm_of(pass, step);
  if (pass.e4m3 != nullptr && pass.e4m3[index].a != nullptr) {
    const E4m3Operands& own = pass.e4m3[index];
    if (own.quantises) {
      kernels::QuantiseRows rows;
      rows.precision = pass.precision;
      rows.in = gemm.a;
      rows.out = own.a;
      rows.scale = own.a_scale;
      rows.rows = gemm.rows;
      rows.columns = gemm.k;
      rows.in_map = gemm.a_map;
      rows.live = gemm.live;
      kernels::quantise_rows(rows, stream);
    }
    gemm.a = own.a;
    gemm.a_scale = own.a_scale;
    gemm.a_map = {};
    gemm.b = own.b;
    gemm.b_scale = own.b_scale;
    gemm.norm.column_sums = own.column_sums;
  }
  kernels::gemm(gemm, stream);
}

kernels::Strided strided(const Arguments& at, int from) { return {at.dim(from), at.dim(from + 1), at.dim(from + 2), at.dim(from + 3)}; }

kernels::Attention attention_of(const Pass& pass, const Step& step) {
  const Arguments at(pass, step);
  kernels::Attention attention;
  attention.precision = pass.precision;
  attention.q = at.pointer(0);
  attention.k = at.pointer(1);
  attention.v = at.pointer(2);
  attention.out = at.pointer(3);
  attention.lse = at.array<float>(4);
  attention.images = at.number(0);
  attention.heads = at.number(1);
  attention.length = at.number(2);
  attention.head_size = at.number(3);
  attention.q_at = strided(at, 4);
  attention.k_at = strided(at, 8);
  attention.v_at = strided(at, 12);
  attention.out_at = strided(at, 16);
  attention.scale = step.floats[0];
  attention.queries = at.number(20);
  attention.live = step.ints[0] == -1 ? pass.live : nullptr;
  return attention;
}

void run_elementwise(const Pass& pass, const Step& step, rt::Stream stream) {
  const Arguments at(pass, step);
  kernels::Elementwise args;
  args.precision = pass.precision;
  args.function = static_cast<kernels::Function>(step.ints[0]);
  args.rank = at.number(1);
  at.dims(2, 6, args.dims);
  at.dims(8, 6, args.a_strides);
  at.dims(14, 6, args.b_strides);
  at.dims(20, 6, args.c_strides);
  args.out = at.operand(0);
  args.a = at.operand(1, at.dim(26));
  args.b = at.operand(2, at.dim(27));
  args.c = at.operand(3, at.dim(28));
  for (int i = 0; i < program::kFloats; ++i) args.parameters[i] = step.floats[i];
  kernels::elementwise(args, stream);
}

void run_reduce(const Pass& pass, const Step& step, rt::Stream stream) {
  const Arguments at(pass, step);
  kernels::Reduce args;
  args.precision = pass.precision;
  args.function = static_cast<kernels::Reduction>(step.ints[0]);
  args.rank = at.number(1);
  at.dims(2, 6, args.dims);
  at.dims(8, 6, args.strides);
  args.reduced = static_cast<std::uint32_t>(step.ints[14]);
  args.out = at.operand(0);
  args.in = at.operand(1, at.dim(15));
  kernels::reduce(args, stream);
}

void run_copy(const Pass& pass, const Step& step, rt::Stream stream) {
  const Arguments at(pass, step);
  kernels::Copy args;
  args.precision = pass.precision;
  args.out = at.operand(0);
  args.in = at.operand(1);
  args.rank = at.number(0);
  at.dims(1, 6, args.dims);
  at.dims(7, 6, args.in_strides);
  at.dims(13, 6, args.out_strides);
  args.in_offset = at.dim(19);
  args.out_offset = at.dim(20);
  kernels::copy(args, stream);
}

void run_batched_matmul(const Pass& pass, const Step& step, rt::Stream stream) {
  const Arguments at(pass, step);
  kernels::BatchedMatmul args;
  args.precision = pass.precision;
  args.m = at.number(0);
  args.n = at.number(1);
  args.k = at.number(2);
  at.dims(3, 3, args.batch);
  at.dims(6, 3, args.a_batch);
  args.a_row = at.dim(9);
  args.a_column = at.dim(10);
  at.dims(11, 3, args.b_batch);
  args.b_row = at.dim(14);
  args.b_column = at.dim(15);
  args.out = at.operand(0);
  args.a = at.operand(1, at.dim(16));
  args.b = at.operand(2, at.dim(17));
  args.alpha = step.floats[0];
  kernels::batched_matmul(args, stream);
}

kernels::Gather gather_of(const Pass& pass, const Step& step) {
  const Arguments at(pass, step);
  kernels::Gather args;
  args.precision = pass.precision;
  args.out = at.operand(0);
  args.in = at.operand(1);
  args.indices = at.array<std::int32_t>(2);
  args.outer = at.dim(0);
  args.axis = at.dim(1);
  args.inner = at.dim(2);
  args.count = at.dim(3);
  return args;
}

void launch_step(const Pass& pass, const Step& step, std::size_t index, rt::Stream stream) {
  const Arguments at(pass, step);
  switch (step.op) {
    case Op::gemm:
      return run_gemm(pass, step, index, stream);
    case Op::layer_norm: {
      kernels::LayerNorm args;
      args.precision = pass.precision;
      args.x = at.pointer(0);
      args.y = at.pointer(1);
      args.rstd = at.array<float>(2);
      args.rows = at.dim(0);
      args.columns = at.number(1);
      args.rms = step.ints[2] != 0;
      args.epsilon = step.floats[0];
      args.live = at.live(0, 3);
      return kernels::layer_norm(args, stream);
    }
    case Op::layer_norm_backward: {
      kernels::LayerNormBackward args;
      args.precision = pass.precision;
      args.dy = at.pointer(0);
      args.y = at.pointer(1);
      args.rstd = at.array<float>(2);
      args.dx = at.pointer(3);
      args.addend = at.pointer(4);
      args.statistics = at.array<float>(5);
      args.epsilon = step.floats[0];
      args.rows = at.dim(0);
      args.columns = at.number(1);
      args.rms = step.ints[2] != 0;
      args.live = at.live(0, 3);
      return kernels::layer_norm_backward(args, stream);
    }
    case Op::row_statistics: {
      kernels::RowStatistics args;
      args.precision = pass.precision;
      args.x = at.pointer(0);
      args.statistics = at.array<float>(1);
      args.rows = at.dim(0);
      args.columns = at.number(1);
      args.rms = step.ints[2] != 0;
      args.live = at.live(0, 3);
      return kernels::row_statistics(args, stream);
    }
    case Op::attention:
      return kernels::attention(attention_of(pass, step), stream);
    case Op::attention_backward: {
      kernels::AttentionBackward args;
      args.forward = attention_of(pass, step);
      args.dout = at.pointer(5);
      args.dq = at.pointer(6);
      args.dk = at.pointer(7);
      args.dv = at.pointer(8);
      return kernels::attention_backward(args, stream);
    }
    case Op::elementwise:
      return run_elementwise(pass, step, stream);
    case Op::reduce:
      return run_reduce(pass, step, stream);
    case Op::copy:
      return run_copy(pass, step, stream);
    case Op::softmax:
      return kernels::softmax(pass.precision, at.pointer(1), at.pointer(0), at.dim(0), at.number(1), stream);
    case Op::softmax_backward:
      return kernels::softmax_backward(pass.precision, at.pointer(1), at.pointer(2), at.pointer(0), at.dim(0), at.number(1), stream);
    case Op::batched_matmul:
      return run_batched_matmul(pass, step, stream);
    case Op::gather:
      return kernels::gather(gather_of(pass, step), stream);
    case Op::scatter_add:
      return kernels::scatter_add(gather_of(pass, step), stream);
    case Op::fill:
      return kernels::fill(pass.precision, at.operand(0), at.dim(0), step.floats[0], stream);
    case Op::loss: {
      kernels::LossHead args = pass.loss;
      args.precision = pass.precision;
      args.logits = at.array<float>(0);
      args.dlogits = at.pointer(1);
      args.images = static_cast<std::int32_t>(pass.batch);
      args.classes = at.number(0);
      args.loss = static_cast<program::Loss>(step.ints[1]);
      args.targeted = step.ints[2] != 0;
      args.live = pass.live;
      return kernels::loss_head(args, stream);
    }
    case Op::convolution:
      return kernels::convolution(convolution_of(pass, step), stream);
    case Op::max_pool:
      return kernels::max_pool(pool_of(pass, step, false), at.pointer(1), at.pointer(0), stream);
    case Op::max_pool_backward:
      return kernels::max_pool_backward(pool_of(pass, step, false), at.pointer(1), at.pointer(2), at.pointer(0), stream);
    case Op::average_pool:
      return kernels::average_pool(pool_of(pass, step, step.ints[15] != 0), at.pointer(1), at.pointer(0), stream);
    case Op::average_pool_backward:
      return kernels::average_pool_backward(pool_of(pass, step, step.ints[15] != 0), at.pointer(1), at.pointer(0), stream);
  }
  throw rt::Failure{rt::Failure::Kind::internal, "unknown operation " + std::to_string(static_cast<int>(step.op))};
}

// Which step of the program failed, in its own words.
[[noreturn]] void rethrow(const rt::Failure& failure, const Pass& pass, const Step& step, std::size_t index) {
  // What a kernel did wrong may be told by the launch of a later one.
  const bool perhaps_before = failure.kind == rt::Failure::Kind::lost && !rt::launches_are_waited_for();
  throw rt::Failure{failure.kind, std::string(perhaps_before ? "at or before step " : "step ") + std::to_string(index) + " (" +
                                      program::op_name(step.op) + ", " + step.name + ": " + program::step_shape(step, pass.batch) +
                                      "): " + failure.message};
}

}  // namespace

void run_step(const Pass& pass, const Step& step, std::size_t index, rt::Stream stream) {
  try {
    launch_step(pass, step, index, stream);
  } catch (const rt::Failure& failure) {
    rethrow(failure, pass, step, index);
  }
}

bool ends_in_product(const program::Program& program) {
  const program::Header& header = program.header;
  if (header.layout != program::ImageLayout::patches || program.gradient.empty()) return false;
  const Step& last = program.gradient.back();
  return last.op == Op::gemm && last.ints[3] == static_cast<std::int64_t>(kernels::Epilogue::store_float) &&
         last.buffers[2] == header.image_gradient && last.buffers[3] == program::kNone && last.buffers[4] == program::kNone &&
         last.buffers[5] == program::kNone && last.buffers[7] == program::kNone && last.buffers[8] == program::kNone && last.ints[0] < 0 && last.ints[7] == 0 && last.ints[10] == 1;
}

void run_last_product(const Pass& pass, const Step& step, const kernels::PatchStep& update, rt::Stream stream) {
  try {
    kernels::Gemm gemm = gemm_of(pass, step);
    gemm.epilogue = kernels::Epilogue::step_linf;
    gemm.out = nullptr;
    gemm.step = update;
    kernels::gemm(gemm, stream);
  } catch (const rt::Failure& failure) {
    rethrow(failure, pass, step, pass.program->gradient.size() - 1);
  }
}

}  // namespace signstep::engine
