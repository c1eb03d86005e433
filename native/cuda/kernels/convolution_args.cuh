// What the kernels of convolution() are given: the product and where its rows are found.
#pragma once

#include "gemm_args.cuh"

namespace signstep::kernels {

// How windows lie in memory, in units: chunks of 16 bytes where no chunk crosses a pixel, else elements. What a window sees is `segments_y`
// by `segments_x` stretches of `length` units that lie one beside another in memory: a line of taps, or a tap where taps are dilated.
struct WindowRows {
  Divisor columns, lines;                            // windows side by side and below one another
  std::int32_t height, line;                         // of an image; units of a line
  std::int32_t stride_y, first_y, stride_x, first_x;  // y in lines, x in units
  std::int32_t segments_y, segments_x, step_y, step_x, length;
};

struct ConvolutionArgs {
  GemmArgs product;
  WindowRows window;
};

}  // namespace signstep::kernels
