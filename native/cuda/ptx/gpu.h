// The device vocabulary under nvcc: CUDA's built-ins as they are, and one file for each family of PTX instructions.
#pragma once

// Code that uses wgmma, TMA or setmaxnreg stands in `#if SIGNSTEP_HAS_SM90`: they exist in code for compute capability 9.0 alone (sm_90a).
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define SIGNSTEP_HAS_SM90 1
#else
#define SIGNSTEP_HAS_SM90 0
#endif

// Conversions to e4m3: from compute capability 8.9 on. Products of it by mma.sync: 8.9 and 12.0; in between the compiler unpacks e4m3 for the
// products of f16, which gains nothing (9.0 has wgmma instead, 10.0 an instruction that no kernel here uses).
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
#define SIGNSTEP_HAS_E4M3 1
#else
#define SIGNSTEP_HAS_E4M3 0
#endif
#if SIGNSTEP_HAS_E4M3 && (__CUDA_ARCH__ < 900 || __CUDA_ARCH__ >= 1200)
#define SIGNSTEP_HAS_E4M3_MMA 1
#else
#define SIGNSTEP_HAS_E4M3_MMA 0
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
