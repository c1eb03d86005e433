// What a step works on, in words: for messages.
#pragma once

#include <cstdint>
#include <string>

#include "program.h"

namespace signstep::program {

// "rows 784, n 192, k 768" at a batch capacity; empty for a number that is no operation.
std::string step_shape(const Step& step, std::int64_t batch);

}  // namespace signstep::program
