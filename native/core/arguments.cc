#include "arguments.h"

#include <cmath>
#include <cstdint>

#include "last_error.h"

namespace signstep {
namespace {

constexpr std::uint64_t kMostElements = std::uint64_t{1} << 34;  // four for each 32-bit Philox block number
constexpr std::uint32_t kMostRestarts = std::uint32_t{1} << 24;  // beside the purpose in one counter word

signstep_status missing(const char* field) { return fail(SIGNSTEP_INVALID, "%s: expected an array, found NULL", field); }

}  // namespace

signstep_status check_size(std::size_t count, std::size_t elements) {
  if (elements > kMostElements || (elements != 0 && count > PTRDIFF_MAX / sizeof(float) / elements))
    return fail(SIGNSTEP_INVALID, "count and elements: %zu x %zu is more than memory can hold", count, elements);
  return SIGNSTEP_OK;
}

signstep_status check(const signstep_start* start) {
  if (start == nullptr) return missing("start");
  if (const auto status = check_size(start->count, start->elements)) return status;
  if (start->restart >= kMostRestarts) return fail(SIGNSTEP_INVALID, "restart: expected less than 2^24, found %u", start->restart);
  if (!(start->scale >= 0) || std::isinf(start->scale))
    return fail(SIGNSTEP_INVALID, "scale: expected a finite number >= 0, found %g", static_cast<double>(start->scale));
  if (start->count == 0 || start->elements == 0) return SIGNSTEP_OK;
  if (start->out == nullptr) return missing("out");
  if (start->x0 == nullptr) return missing("x0");
  if (start->eps == nullptr) return missing("eps");
  if (start->sample_indices == nullptr) return missing("sample_indices");
  for (std::size_t i = 0; i < start->count; ++i) {
    const float eps = start->eps[i];
    if (!(eps >= 0) || std::isinf(eps))
      return fail(SIGNSTEP_INVALID, "eps[%zu]: expected a finite number >= 0, found %g", i, static_cast<double>(eps));
    if (start->sample_indices[i] < 0)
      return fail(SIGNSTEP_INVALID, "sample_indices[%zu]: expected >= 0, found %d", i, start->sample_indices[i]);
  }
  return SIGNSTEP_OK;
}

signstep_status check(const signstep_step* step, signstep_rule rule) {
  if (step == nullptr) return missing("step");
  if (const auto status = check_size(step->count, step->elements)) return status;
  if (step->direction != 1 && step->direction != -1)
    return fail(SIGNSTEP_INVALID, "direction: expected 1 or -1, found %d", step->direction);
  if (rule == SIGNSTEP_RULE_MOMENTUM && !std::isfinite(step->decay))
    return fail(SIGNSTEP_INVALID, "decay: expected a finite number, found %g", static_cast<double>(step->decay));
  if (step->count == 0 || step->elements == 0) return SIGNSTEP_OK;
  if (step->x == nullptr) return missing("x");
  if (step->x0 == nullptr) return missing("x0");
  if (step->gradient == nullptr) return missing("gradient");
  if (rule == SIGNSTEP_RULE_MOMENTUM && step->momentum == nullptr) return missing("momentum");
  if (step->alpha == nullptr) return missing("alpha");
  if (step->eps == nullptr) return missing("eps");
  for (std::size_t i = 0; i < step->count; ++i) {
    if (!(step->alpha[i] >= 0) || std::isinf(step->alpha[i]))
      return fail(SIGNSTEP_INVALID, "alpha[%zu]: expected a finite number >= 0, found %g", i, static_cast<double>(step->alpha[i]));
    if (std::isnan(step->eps[i])) return fail(SIGNSTEP_INVALID, "eps[%zu]: expected a number, found NaN", i);
  }
  return SIGNSTEP_OK;
}

}  // namespace signstep
