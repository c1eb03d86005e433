// Why the last call of a thread failed.
#pragma once

#include "signstep/signstep.h"

namespace signstep {

const char* last_error();

// Keeps the formatted text for the calling thread and returns `status`.
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
signstep_status fail(signstep_status status, const char* format, ...);

}  // namespace signstep
