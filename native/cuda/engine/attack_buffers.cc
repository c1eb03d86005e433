#include "attack_buffers.h"

#include "../kernels/kernels.h"

namespace signstep::engine {
namespace {

std::size_t size(std::int64_t count) { return static_cast<std::size_t>(count); }

}  // namespace

AttackBuffers::AttackBuffers(std::int64_t batch, std::int64_t elements, std::int64_t reference_classes)
    : x0(size(batch * elements)),
      x(size(batch * elements)),
      planes(size(batch * elements)),
      best_value(size(batch)),
      norms(size(batch)),
      alpha(size(batch)),
      eps(size(batch)),
      start_eps(size(batch)),
      labels(size(batch)),
      targets(size(batch)),
      sample_indices(size(batch)),
      order(size(batch)),
      reference(size(batch * reference_classes)),
      live(1),
      seed(1),
      restart(1),
      fooled(size(batch)),
      sums(size(kernels::step_scratch_doubles(batch, elements))),
      rows(size(batch)),
      loss(size(batch) * kStepsPerGraph),
      predictions(size(batch) * kStepsPerGraph),
      nan_count(size(batch) * kStepsPerGraph),
      nonzero(size(batch) * kStepsPerGraph),
      left(kStepsPerGraph) {}

AttackBuffers::~AttackBuffers() {
  for (const auto& [key, graph] : graphs) rt::destroy(graph);
}

std::uint64_t AttackBuffers::device_bytes(std::int64_t batch, std::int64_t elements, std::int64_t reference_classes) {
  // x0, x, planes, momentum, best, finished; results of four bytes a step; ten vectors or so.
  constexpr std::uint64_t kImages = 6, kVectors = 12 + 4 * kStepsPerGraph;
  const std::uint64_t images = size(batch);
  return images * (size(elements) * kImages + size(reference_classes) + kVectors) * 4 + size(kernels::step_scratch_doubles(batch, elements)) * 8;
}

}  // namespace signstep::engine
