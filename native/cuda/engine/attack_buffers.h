// Memory of one attack, and the graphs that were recorded over it.
#pragma once

#include <cstdint>
#include <map>
#include <tuple>

#include "device_memory.h"

namespace signstep::engine {

struct AttackBuffers {
  // reference_classes: logits of an image that the loss compares with; 0 unless it is KL.
  AttackBuffers(std::int64_t batch, std::int64_t elements, std::int64_t reference_classes);
  ~AttackBuffers();
  // What one takes of the device at most.
  static std::uint64_t device_bytes(std::int64_t batch, std::int64_t elements, std::int64_t reference_classes);

  DeviceArray<float> x0, x;                    // [batch, elements] in the program's layout
  Mirrored<float> planes;                      // the same as planes, on its way in or out
  DeviceArray<float> momentum, best;           // made when first asked for
  DeviceArray<float> finished;                 // likewise: where an image was finished, at its place in the batch as it was begun
  DeviceArray<float> best_value, norms;        // [batch]
  Mirrored<float> alpha, eps, start_eps;       // [batch]
  Mirrored<std::int32_t> labels, targets, sample_indices;
  Mirrored<std::int32_t> order;                // [batch]: places of the images under attack in the batch as it was begun
  Mirrored<float> reference;                   // [batch, classes] logits of the KL loss, else empty
  Mirrored<std::int32_t> live;                 // [1]
  Mirrored<std::uint64_t> seed;                // [1]
  Mirrored<std::uint32_t> restart;             // [1]
  DeviceArray<std::uint8_t> fooled;            // [batch]
  DeviceArray<double> sums;
  DeviceArray<std::int32_t> rows;              // [batch]: the survivors of a step

  // Results of up to kStepsPerGraph steps: [steps, batch].
  static constexpr std::uint32_t kStepsPerGraph = 64;
  Mirrored<float> loss;
  Mirrored<std::int32_t> predictions, nan_count, nonzero;
  Mirrored<std::int32_t> left;  // [steps]: images under attack after each

  // What a recorded graph depends on: rule, steps, direction, retire, remember, decay.
  using GraphKey = std::tuple<std::uint32_t, std::uint32_t, std::int32_t, bool, bool, float>;
  std::map<GraphKey, rt::Graph> graphs;
  OwnedEvent uploaded;
};

}  // namespace signstep::engine
