#include "check_weights.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>

namespace signstep::engine {
namespace {

using program::Op;

struct Range {
  const char* name;
  float largest;
  float overflows;  // the least number that rounds to infinity
};

Range range_of(kernels::Precision precision) {
  switch (precision) {
    case kernels::Precision::bf16: return {"bf16", 0x1.FEp127f, 0x1.FFp127f};
    case kernels::Precision::fp16: return {"fp16", 65504.0f, 65520.0f};
    case kernels::Precision::float32: break;
  }
  return {"float32", std::bit_cast<float>(0x7F7FFFFFu), std::bit_cast<float>(0x7F800000u)};
}

// Bits without the sign: they order as the magnitudes do, NaN above all.
std::uint32_t magnitude(const std::uint8_t* at) {
  std::uint32_t bits;
  std::memcpy(&bits, at, sizeof bits);
  return bits & 0x7FFFFFFFu;
}

}  // namespace

void check_weights(const program::Program& program, const std::vector<program::Step>& steps, kernels::Precision precision) {
  const Range range = range_of(precision);
  std::vector<bool> seen(program.buffers.size(), false);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (steps[i].op != Op::gemm && steps[i].op != Op::convolution) continue;
    const auto index = static_cast<std::size_t>(steps[i].buffers[1]);
    const program::Buffer& weights = program.buffers[index];
    if (weights.storage == program::Storage::activation || seen[index]) continue;
    seen[index] = true;
    const std::uint8_t* const data = program.data + weights.data;
    std::uint32_t largest = 0;
    for (program::Dim k = 0; k < weights.elements; ++k) largest = std::max(largest, magnitude(data + 4 * k));
    if (largest < std::bit_cast<std::uint32_t>(range.overflows)) continue;
    throw rt::Failure{rt::Failure::Kind::invalid, "weights of step " + std::to_string(i) + " (" + steps[i].name + "): expected numbers up to " +
                                                      std::to_string(range.largest) + ", which " + range.name + " holds, found " +
                                                      std::to_string(std::bit_cast<float>(largest))};
  }
}

}  // namespace signstep::engine
