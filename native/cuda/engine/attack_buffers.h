// Device memory of one attack, and the graphs that were recorded over it.
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

  DeviceArray<float> x0, x;            // [batch, elements] in the program's layout
  DeviceArray<float> planes;           // the same as planes, on its way in or out
  DeviceArray<float> momentum, best;   // made when first asked for
  DeviceArray<float> best_value;       // [batch]
  DeviceArray<float> alpha, eps, start_eps, norms;  // [batch]
  DeviceArray<std::int32_t> labels, targets, sample_indices;
  DeviceArray<float> reference;        // [batch, classes] logits of the KL loss, else empty
  DeviceArray<std::int32_t> live;      // [1]
  DeviceArray<std::uint64_t> seed;     // [1]
  DeviceArray<std::uint32_t> restart;  // [1]
  DeviceArray<std::uint8_t> fooled;    // [batch]
  DeviceArray<double> sums;
  DeviceArray<std::int32_t> rows;      // [batch]
  PinnedBytes staging;                 // images, then labels, targets, sample indices, reference

  // Results of up to kStepsPerGraph steps: [steps, batch].
  static constexpr std::uint32_t kStepsPerGraph = 64;
  DeviceArray<float> loss;
  DeviceArray<std::int32_t> predictions, nan_count, nonzero;

  // What a recorded graph depends on: rule, steps, direction, hold, remember, decay.
  using GraphKey = std::tuple<std::uint32_t, std::uint32_t, std::int32_t, bool, bool, float>;
  std::map<GraphKey, rt::Graph> graphs;
  OwnedEvent uploaded;
};

}  // namespace signstep::engine
