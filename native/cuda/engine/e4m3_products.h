// Precision fp8: which products of a program multiply in e4m3. All else, and every buffer, stays in bf16: an operand is quantised in front of
// its product, once for all that share it, into memory that is planned with the activations.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../../core/program/program.h"

namespace signstep::engine {

struct E4m3Products {
  struct Product {
    std::int32_t operand = -1;  // of `operands`; -1: the step is none of these
    bool quantises = false;     // the first to read its operand
  };
  std::vector<Product> steps;               // one a step
  std::vector<program::Scratch> operands;   // rows * k bytes of e4m3, then a float32 scale a row
};

E4m3Products choose_e4m3_products(const program::Program& program, const std::vector<program::Step>& steps);

// What such a product multiplies, on the device.
struct E4m3Operands {
  void* a = nullptr;  // nullptr: the step is no such product
  float* a_scale = nullptr;
  bool quantises = false;
  const void* b = nullptr;
  const float* b_scale = nullptr;
  const float* column_sums = nullptr;  // row sums of b as it is quantised, in place of the plan's; nullptr: the step asks for none
};

}  // namespace signstep::engine
