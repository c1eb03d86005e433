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
      alpha(size(batch)),
      eps(size(batch)),
      start_eps(size(batch)),
      norms(size(batch)),
      labels(size(batch)),
      targets(size(batch)),
      sample_indices(size(batch)),
      live(1),
      seed(1),
      restart(1),
      fooled(size(batch)),
      sums(size(kernels::step_scratch_doubles(batch, elements))),
      rows(size(batch)),
      staging(size(batch) * (size(elements) + size(reference_classes) + 3) * 4),
      loss(size(batch) * kStepsPerGraph),
      predictions(size(batch) * kStepsPerGraph),
      nan_count(size(batch) * kStepsPerGraph),
      nonzero(size(batch) * kStepsPerGraph) {
  if (reference_classes > 0) reference = DeviceArray<float>(size(batch * reference_classes));
}

AttackBuffers::~AttackBuffers() {
  for (const auto& [key, graph] : graphs) rt::destroy(graph);
}

}  // namespace signstep::engine
