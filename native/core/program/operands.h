// Which buffers a step of the kernel program reads and which it writes, by name: for checks, messages and lifetimes.
#pragma once

#include <cstdint>
#include <span>

#include "program.h"

namespace signstep::program {

enum class Access : std::uint8_t { read, write };

struct StepOperand {
  std::int32_t slot;  // of Step::buffers
  const char* name;
  Access access;
  bool optional;
};

// Name of an operation; nullptr for a number that is none.
const char* op_name(Op op);

// The operands of the step, given or left out. Slots that are not among them must be kNone. Empty for a number that is no operation.
std::span<const StepOperand> operands(const Step& step);

}  // namespace signstep::program
