// The device vocabulary of the simulator: what native/cuda/ptx gives to nvcc, for a C++20 compiler alone.
#pragma once

#include "arithmetic.h"
#include "async_copy.h"
#include "atomics.h"
#include "block.h"
#include "kernel_launch.h"
#include "matrix.h"
#include "mbarrier.h"
#include "numbers.h"
#include "shared.h"
#include "tma.h"
#include "vector_types.h"
#include "warp.h"
#include "wgmma.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define threadIdx (::signstep::sim::current->index)
#define blockIdx (::signstep::sim::current->block->index)
#define blockDim (::signstep::sim::current->block->call->block)
#define gridDim (::signstep::sim::current->block->call->grid)
#define SIGNSTEP_HAS_SM90 1
#define SIGNSTEP_HAS_E4M3 1
#define SIGNSTEP_HAS_E4M3_MMA 1
