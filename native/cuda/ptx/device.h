// The device vocabulary: all a kernel includes. nvcc gets inline PTX and CUDA built-ins, a C++20 compiler with SIGNSTEP_SIM the simulator;
// the names and meanings are the same, in namespace signstep::device.
#pragma once

#include "number_types.h"

#if defined(SIGNSTEP_SIM)
#include "../../sim/device.h"
#elif defined(__CUDACC__)
#include "gpu.h"
#else
#error "kernels are compiled by nvcc, or for the simulator with -DSIGNSTEP_SIM"
#endif
