// Whether the arguments of a call make sense. Names in the messages are the fields of signstep.h.
#pragma once

#include <cstddef>

#include "signstep/signstep.h"

namespace signstep {

signstep_status check(const signstep_start* start);
signstep_status check(const signstep_step* step, signstep_rule rule);
signstep_status check_size(std::size_t count, std::size_t elements);

}  // namespace signstep
