// One step of a program as the launch of its kernel.
#pragma once

#include <cstdint>
#include <vector>

#include "../../core/program/program.h"
#include "../kernels/kernels.h"
#include "e4m3_products.h"
#include "runtime.h"

namespace signstep::engine {

// Where the buffers of a loaded program lie, and what one pass over it needs beside them.
struct Pass {
  const program::Program* program = nullptr;
  const std::vector<void*>* pointers = nullptr;  // per buffer
  kernels::Precision precision = kernels::Precision::bf16;
  std::int64_t batch = 0;               // capacity
  const std::int32_t* live = nullptr;   // device: images under attack
  const E4m3Operands* e4m3 = nullptr;   // one a step, or nullptr: no product is in e4m3
  kernels::LossHead loss;               // labels, targets, reference and where loss, predictions and flags go; the rest is the step's own
};

// Throws rt::Failure naming the step, its operation and shapes.
void run_step(const Pass& pass, const program::Step& step, std::size_t index, rt::Stream stream);

// The last product of a gradient program with PGD's step as its epilogue. Only where `ends_in_product`.
void run_last_product(const Pass& pass, const program::Step& step, const kernels::PatchStep& update, rt::Stream stream);
bool ends_in_product(const program::Program& program);

}  // namespace signstep::engine
