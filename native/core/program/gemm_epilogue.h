// What a plan may ask of the end of a matrix product, in the numbers of kernels::Epilogue (the program knows no device, so it cannot
// include the launchers; program_test compares the two).
#pragma once

#include "program.h"

namespace signstep::program {

inline constexpr Dim kStore = 0, kStoreFloat = 11, kNormBackward = 13, kSwiglu = 14, kSwigluBackward = 15;
inline constexpr std::int64_t kStatisticsColumns = 64;  // of a row, for which a product leaves one pair of statistics
inline constexpr bool is_epilogue(Dim epilogue) { return (epilogue >= kStore && epilogue <= kStoreFloat) || (epilogue >= kNormBackward && epilogue <= kSwigluBackward); }

// gelu_erf, gelu_tanh, quick_gelu, silu, relu, swiglu
inline constexpr bool writes_aux(Dim epilogue) {
  return epilogue == 1 || epilogue == 2 || epilogue == 5 || epilogue == 7 || epilogue == 9 || epilogue == kSwiglu;
}
// their gradients
inline constexpr bool reads_aux(Dim epilogue) {
  return epilogue == 3 || epilogue == 4 || epilogue == 6 || epilogue == 8 || epilogue == 10 || epilogue == kSwigluBackward;
}

}  // namespace signstep::program
