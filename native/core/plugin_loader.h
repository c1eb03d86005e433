// Engines live in plugins beside the core library, so that no one needs CUDA who does not use it.
#pragma once

#include "signstep/engine.h"

namespace signstep {

// The engine of libsignstep_<name>-<version> beside this library; opened on first use and kept. NULL: last_error() says which file,
// what was expected of it and what was found. Any thread.
const signstep_engine* load_plugin(const char* name);

}  // namespace signstep
