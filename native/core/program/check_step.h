// Whether a step makes sense: operands given and of the right type, sizes in range, and no element touched outside its buffer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "program.h"

namespace signstep::program {

// At this batch capacity. Throws PlanError; `where` begins its message ("forward step 3").
void check_step(const Program& program, const Step& step, std::int64_t batch, const std::string& where);

// All steps, and that what they read was written before: by a step, by the caller (the input) or as a constant.
void check_steps(const Program& program, const std::vector<Step>& steps, std::int64_t batch, const char* which);

}  // namespace signstep::program
