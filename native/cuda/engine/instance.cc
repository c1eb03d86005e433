#include "instance.h"

#include <algorithm>

#include "check_weights.h"

namespace signstep::engine {
namespace {

using program::Buffer;
using program::ElementType;
using program::Storage;

constexpr int kWeight = 1, kColumnSums = 9;  // b of a gemm, and the sums of its rows

std::size_t width_of(const Buffer& buffer, kernels::Precision precision) {
  return buffer.type == ElementType::value ? kernels::bytes_of(precision) : 4;
}

// Elements of a constant that lie in the plan.
std::int64_t held_by(const Buffer& buffer) { return buffer.storage == Storage::row_sums ? buffer.rows * buffer.columns : buffer.elements; }

// Sums of a matrix's rows as a product in this precision sees them: its elements rounded first.
void sum_rows(const Buffer& buffer, kernels::Precision precision, const float* matrix, void* sums, rt::Stream stream) {
  DeviceArray<std::byte> rounded(static_cast<std::size_t>(held_by(buffer)) * kernels::bytes_of(precision));
  const kernels::Operand stored{rounded.data(), ElementType::value};
  kernels::convert(precision, matrix, stored, buffer.rows, buffer.columns, false, stream);
  kernels::Reduce reduce;
  reduce.precision = precision;
  reduce.out = {sums, ElementType::float32};
  reduce.in = stored;
  reduce.rank = 2;
  reduce.dims[0] = buffer.rows;
  reduce.dims[1] = reduce.strides[0] = buffer.columns;
  reduce.strides[1] = 1;
  reduce.reduced = 2;
  kernels::reduce(reduce, stream);
  rt::synchronize(stream);
}

// The same of a quantised weight: its product with a row of ones.
const float* sum_rows(const E4m3Operands& weight, std::int64_t n, std::int64_t k, float* sums, rt::Stream stream) {
  constexpr int kOne = 0x38;
  constexpr float one = 1;
  DeviceArray<std::byte> ones(static_cast<std::size_t>(k));
  DeviceArray<float> scale(1);
  rt::fill(ones.data(), kOne, ones.bytes(), stream);
  rt::upload(scale.data(), &one, sizeof one, stream);
  kernels::Gemm gemm;
  gemm.a = ones.data();
  gemm.a_scale = scale.data();
  gemm.b = weight.b;
  gemm.b_scale = weight.b_scale;
  gemm.out = sums;
  gemm.rows = 1;
  gemm.n = static_cast<std::int32_t>(n);
  gemm.k = static_cast<std::int32_t>(k);
  gemm.epilogue = kernels::Epilogue::store_float;
  kernels::gemm(gemm, stream);
  rt::synchronize(stream);
  return sums;
}

}  // namespace

Instance::Instance(const program::Program& program, const std::vector<program::Step>& steps, kernels::Precision precision,
                   std::int64_t batch, const E4m3Products& e4m3, rt::Stream stream)
    : program_(program), steps_(steps), precision_(precision), batch_(batch), pointers_(program.buffers.size(), nullptr) {
  check_weights(program, steps, precision);
  const program::MemoryPlan plan = plan_memory(program, steps, batch, kernels::bytes_of(precision), e4m3.operands);
  activations_ = DeviceArray<std::byte>(std::max<std::uint64_t>(plan.bytes, 1));
  bytes_ = activations_.bytes();

  std::vector<bool> used(program.buffers.size(), false);
  for (const std::int32_t pinned : {program.header.input, program.header.logits, program.header.image_gradient})
    used[static_cast<std::size_t>(pinned)] = true;
  std::size_t largest = 0;
  const auto constant = [&](std::int32_t index) { return program.buffers[static_cast<std::size_t>(index)].storage != Storage::activation; };
  for (std::size_t s = 0; s < steps.size(); ++s)
    for (int slot = 0; slot < program::kBuffers; ++slot) {
      const std::int32_t index = steps[s].buffers[slot];
      if (index == program::kNone) continue;
      if (constant(index)) largest = std::max(largest, static_cast<std::size_t>(held_by(program.buffers[static_cast<std::size_t>(index)])));
      const bool quantised = (slot == kWeight || slot == kColumnSums) && !e4m3.steps.empty() && e4m3.steps[s].operand >= 0;
      if (!quantised) used[static_cast<std::size_t>(index)] = true;
    }
  DeviceArray<float> staging(std::max<std::size_t>(largest, 1));

  for (std::size_t i = 0; i < used.size(); ++i) {
    if (!used[i]) continue;
    const Buffer& buffer = program.buffers[i];
    if (buffer.storage == Storage::activation) {
      pointers_[i] = activations_.data() + plan.offsets[i];
      continue;
    }
    const auto count = static_cast<std::size_t>(buffer.elements);
    constants_.emplace_back(count * width_of(buffer, precision));
    pointers_[i] = constants_.back().data();
    bytes_ += constants_.back().bytes();
    const void* source = program.data + buffer.data;
    if (buffer.storage == Storage::as_is && width_of(buffer, precision) == 4) {
      rt::upload(pointers_[i], source, count * 4, stream);
    } else if (buffer.storage == Storage::row_sums) {
      rt::upload(staging.data(), source, static_cast<std::size_t>(held_by(buffer)) * 4, stream);
      sum_rows(buffer, precision, staging.data(), pointers_[i], stream);
    } else {
      const bool transposed = buffer.storage == Storage::transposed;
      rt::upload(staging.data(), source, count * 4, stream);
      kernels::convert(precision, staging.data(), {pointers_[i], buffer.type}, transposed ? buffer.rows : 1,
                       transposed ? buffer.columns : buffer.elements, transposed, stream);
    }
    // The staging array and the plan's own memory are free again only then.
    rt::synchronize(stream);
  }
  if (!e4m3.operands.empty()) quantise_weights(e4m3, plan, staging, stream);
}

void Instance::quantise_weights(const E4m3Products& chosen, const program::MemoryPlan& plan, DeviceArray<float>& staging, rt::Stream stream) {
  DeviceArray<float> turned(staging.size());
  std::vector<E4m3Operands> weights(program_.buffers.size());  // b alone; several products may have the same
  e4m3_.resize(steps_.size());
  for (std::size_t s = 0; s < steps_.size(); ++s) {
    const E4m3Products::Product& product = chosen.steps[s];
    if (product.operand < 0) continue;
    const program::Step& step = steps_[s];
    const std::int64_t n = step.ints[1], k = step.ints[2];
    E4m3Operands& weight = weights[static_cast<std::size_t>(step.buffers[kWeight])];
    if (weight.b == nullptr) {
      const Buffer& buffer = program_.buffers[static_cast<std::size_t>(step.buffers[kWeight])];
      const auto matrix = static_cast<std::size_t>((n * k + 255) / 256 * 256), sums = static_cast<std::size_t>((n + 63) / 64 * 64);
      constants_.emplace_back(matrix + 2 * sums * sizeof(float));
      bytes_ += constants_.back().bytes();
      std::byte* const own = constants_.back().data();
      kernels::QuantiseRows rows;
      rows.precision = kernels::Precision::float32;
      rows.in = staging.data();
      rows.out = own;
      rows.scale = reinterpret_cast<float*>(own + matrix);
      rows.rows = n;
      rows.columns = static_cast<std::int32_t>(k);
      rt::upload(staging.data(), program_.data + buffer.data, static_cast<std::size_t>(n * k) * sizeof(float), stream);
      if (buffer.storage == Storage::transposed) {
        kernels::convert(kernels::Precision::float32, staging.data(), {turned.data(), ElementType::float32}, buffer.rows, buffer.columns, true, stream);
        rows.in = turned.data();
      }
      kernels::quantise_rows(rows, stream);
      weight.b = own;
      weight.b_scale = rows.scale;
      weight.column_sums = sum_rows(weight, n, k, rows.scale + sums, stream);
    }
    const program::Scratch& operand = chosen.operands[static_cast<std::size_t>(product.operand)];
    std::byte* const a = activations_.data() + plan.offsets[program_.buffers.size() + static_cast<std::size_t>(product.operand)];
    e4m3_[s] = weight;
    if (step.buffers[kColumnSums] == program::kNone) e4m3_[s].column_sums = nullptr;
    e4m3_[s].a = a;
    e4m3_[s].a_scale = reinterpret_cast<float*>(a + program::resolve(steps_[operand.first].ints[0], batch_) * k);
    e4m3_[s].quantises = product.quantises;
  }
}

Pass Instance::pass(const std::int32_t* live) const {
  Pass pass;
  pass.program = &program_;
  pass.pointers = &pointers_;
  pass.precision = precision_;
  pass.batch = batch_;
  pass.live = live;
  pass.e4m3 = e4m3_.empty() ? nullptr : e4m3_.data();
  return pass;
}

}  // namespace signstep::engine
