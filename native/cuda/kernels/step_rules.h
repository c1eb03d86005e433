// The steps behind step(), one file each; step.cu checks the arguments they share.
#pragma once

#include "kernels.h"

namespace signstep::kernels {

struct ImageWalk;

void step_linf(const Images& images, const StepRule& rule, const ImageWalk& walk, rt::Stream stream);
void step_l2(const Images& images, const StepRule& rule, const ImageWalk& walk, rt::Stream stream);
void step_momentum(const Images& images, const StepRule& rule, const ImageWalk& walk, rt::Stream stream);

}  // namespace signstep::kernels
