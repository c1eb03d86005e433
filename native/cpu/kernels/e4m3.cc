// The processor has no products in e4m3: the engine asks before it loads a program that way.
#include "../../cuda/kernels/kernels.h"
#include "elements.h"

namespace signstep::kernels {

bool has_e4m3(std::uint32_t) { return false; }

void quantise_rows(const QuantiseRows&, rt::Stream) { refuse("quantise_rows", "the processor has no e4m3"); }

}  // namespace signstep::kernels
