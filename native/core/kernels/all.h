// The table of one instruction set, from the templates of this folder.
#pragma once

#include "../kernel_table.h"
#include "distance.h"
#include "gaussian.h"
#include "start_uniform.h"
#include "step_l2.h"
#include "step_linf.h"
#include "step_momentum.h"

namespace signstep {
namespace {

template <class V>
constexpr KernelTable make_kernel_table() {
  return {
      .name = V::kName,
      .start_uniform = start_uniform<V>,
      .gaussian = gaussian<V>,
      .start_l2 = start_l2<V>,
      .step_linf = step_linf<V>,
      .sum_magnitudes = sum_magnitudes<V>,
      .sum_squares = sum_squares<V>,
      .move_l2 = move_l2<V>,
      .project_l2 = project_l2<V>,
      .clamp = clamp<V>,
      .step_momentum = step_momentum<V>,
      .distance = distance<V>,
  };
}

}  // namespace
}  // namespace signstep
