// The device vocabulary under nvcc: CUDA's built-ins as they are, and one file for each family of PTX instructions.
#pragma once

// Code that uses wgmma, TMA or setmaxnreg stands in `#if SIGNSTEP_HAS_SM90`: they exist in code for compute capability 9.0 alone (sm_90a).
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define SIGNSTEP_HAS_SM90 1
#else
#define SIGNSTEP_HAS_SM90 0
#endif

#include "async_copy.h"
#include "barriers.h"
#include "kernel_launch.h"
#include "matrix.h"
#include "mbarrier.h"
#include "numbers.h"
#include "shared_memory.h"
#include "tma.h"
#include "wgmma.h"
