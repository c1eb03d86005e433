// The random starts behind start(), one file each; start.cu checks the arguments they share.
#pragma once

#include "kernels.h"

namespace signstep::kernels {

struct ImageWalk;

void start_uniform(const Images& images, const StartRule& rule, const ImageWalk& walk, rt::Stream stream);
void start_l2(const Images& images, const StartRule& rule, const ImageWalk& walk, rt::Stream stream);

}  // namespace signstep::kernels
