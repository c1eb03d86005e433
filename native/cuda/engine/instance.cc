#include "instance.h"

#include <algorithm>

#include "check_weights.h"

namespace signstep::engine {
namespace {

using program::Buffer;
using program::ElementType;
using program::Storage;

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

}  // namespace

Instance::Instance(const program::Program& program, const std::vector<program::Step>& steps, kernels::Precision precision,
                   std::int64_t batch, rt::Stream stream)
    : program_(program), steps_(steps), precision_(precision), batch_(batch), pointers_(program.buffers.size(), nullptr) {
  check_weights(program, steps, precision);
  const program::MemoryPlan plan = plan_memory(program, steps, batch, kernels::bytes_of(precision));
  activations_ = DeviceArray<std::byte>(std::max<std::uint64_t>(plan.bytes, 1));
  bytes_ = activations_.bytes();

  std::vector<bool> used(program.buffers.size(), false);
  for (const std::int32_t pinned : {program.header.input, program.header.logits, program.header.image_gradient})
    used[static_cast<std::size_t>(pinned)] = true;
  for (const program::Step& step : steps)
    for (const std::int32_t index : step.buffers)
      if (index != program::kNone) used[static_cast<std::size_t>(index)] = true;

  std::size_t largest = 0;
  for (std::size_t i = 0; i < used.size(); ++i)
    if (used[i] && program.buffers[i].storage != Storage::activation)
      largest = std::max(largest, static_cast<std::size_t>(held_by(program.buffers[i])));
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
}

Pass Instance::pass(const std::int32_t* live) const {
  Pass pass;
  pass.program = &program_;
  pass.pointers = &pointers_;
  pass.precision = precision_;
  pass.batch = batch_;
  pass.live = live;
  return pass;
}

}  // namespace signstep::engine
