// attention() and attention_backward(): checks, choice of form and block, and the way to the kernels of the precision.
#include <algorithm>
#include <cmath>

#include "attention_launch.h"
#include "element.cuh"

namespace signstep::kernels {
namespace {

constexpr std::int32_t divided_up(std::int32_t a, std::int32_t b) { return (a + b - 1) / b; }
constexpr std::int32_t pitch_bytes(std::int32_t padded) { return 2 * (padded + 8); }

void check(const Attention& args, const char* kernel) {
  require(args.length > 0 && args.queries >= 0, kernel, "a sequence of no rows");
  require(args.head_size > 0 && args.head_size <= 128, kernel, "head sizes from 1 to 128 are served");
  require(std::isfinite(args.scale) && args.scale != 0.0f, kernel, "a scale that is zero or not finite");
  require(static_cast<std::int64_t>(args.images) * args.heads < (std::int64_t{1} << 31), kernel, "more than 2^31 heads");
}

std::int32_t queries_of(const Attention& args) { return args.queries > 0 ? args.queries : args.length; }

// With the number of queries said in any case, as the kernels want it.
Attention with_queries(Attention args) {
  args.queries = queries_of(args);
  return args;
}

bool starts_aligned(const void* data, const Strided& at) {
  return aligned16(data) && at.offset % 8 == 0 && at.image % 8 == 0 && at.head % 8 == 0 && at.row % 8 == 0;
}

// Blocks of `warps` warps, `most` at most, a slab of the `rows` each; no fewer than 4 where there are rows for them, so that a chip that the heads alone
// do not fill gets more blocks.
AttentionGrid slab_grid(const Attention& args, std::int32_t rows, std::int32_t most, const AttentionDevice& device) {
  const std::int32_t slabs = divided_up(rows, kSlab), heads = std::max(args.images * args.heads, 1);
  const std::int32_t wanted = divided_up(2 * device.multiprocessors, heads);
  AttentionGrid grid;
  grid.parts = std::max(divided_up(slabs, most), std::min(wanted, divided_up(slabs, 4)));
  grid.warps = divided_up(slabs, grid.parts);
  return grid;
}

std::int32_t keys_shared_bytes(const Attention& args, std::int32_t warps, bool fused) {
  const std::int32_t pitch = pitch_bytes(padded_head(args.head_size)), keys = warps * kSlab;
  const std::int32_t queries = divided_up(queries_of(args), kQueries) * kQueries;
  const std::int32_t exchange = fused ? 2 * keys * 2 * (kQueries + 8) : 0;
  return 2 * keys * pitch + kQueryStages * 2 * kQueries * pitch + 8 * queries + exchange;
}

// A block owns all keys of a head, and its threads' registers dk and dv.
bool fused_serves(const Attention& args, const AttentionDevice& device) {
  return args.length <= kFusedSlabs * kSlab && padded_head(args.head_size) <= kFusedHead &&
         keys_shared_bytes(args, divided_up(args.length, kSlab), true) <= device.shared_bytes;
}

AttentionDevice device_of_thread() {
  const rt::DeviceInfo& info = rt::this_device();
  return {static_cast<std::int32_t>(info.multiprocessors), attention_shared_bytes(info.compute_capability)};
}

}  // namespace

std::int32_t attention_shared_bytes(std::uint32_t compute_capability) {
  switch (compute_capability) {
    case 80:
    case 87: return 163 * 1024;
    case 90:
    case 100:
    case 101:
    case 103:
    case 110: return 227 * 1024;
    default: return 99 * 1024;
  }
}

std::int32_t padded_head(std::int32_t head_size) {
  for (const std::int32_t size : {32, 64, 80, 96, 128})
    if (head_size <= size) return size;
  return 0;
}

bool attention_on_matrix_units(const Attention& args) {
  return args.precision != Precision::float32 && args.head_size % 8 == 0 && starts_aligned(args.q, args.q_at) &&
         starts_aligned(args.k, args.k_at) && starts_aligned(args.v, args.v_at) && starts_aligned(args.out, args.out_at);
}

bool attention_on_matrix_units(const AttentionBackward& args) {
  return attention_on_matrix_units(args.forward) && aligned16(args.dout) && aligned16(args.dq) && aligned16(args.dk) && aligned16(args.dv);
}

AttentionGrid attention_forward_grid(const Attention& args, const AttentionDevice& device) {
  const std::int32_t padded = padded_head(args.head_size), keys = chunk_keys(padded), chunks = divided_up(args.length, keys);
  const std::int32_t chunk_bytes = 2 * keys * pitch_bytes(padded);
  AttentionGrid grid = slab_grid(args, queries_of(args), 8, device);
  // Two blocks share a multiprocessor at head sizes up to 64; above, the registers leave room for one.
  const std::int32_t room = padded <= 64 ? device.shared_bytes / 2 : device.shared_bytes;
  if (chunks <= kStages || chunks * chunk_bytes <= room) {
    // All chunks stay in shared memory: where there are blocks enough, one for the head reads them once, in as many even rounds as it
    // takes.
    const std::int32_t slabs = divided_up(queries_of(args), kSlab), heads = std::max(args.images * args.heads, 1);
    grid.parts = std::min(grid.parts, divided_up(2 * device.multiprocessors, heads));
    const std::int32_t rounds = divided_up(slabs, grid.parts * 8);
    grid.warps = divided_up(slabs, grid.parts * rounds);
    grid.slots = std::max(chunks, kStages);
  }
  grid.shared_bytes = std::min(chunks, grid.slots) * chunk_bytes;
  return grid;
}

AttentionBackwardPlan attention_backward_plan(const AttentionBackward& args, const AttentionDevice& device, BackwardForm wanted) {
  const Attention& forward = args.forward;
  const bool serves = fused_serves(forward, device);
  require(wanted != BackwardForm::fused || serves, "attention_backward", "the fused form does not fit");
  AttentionBackwardPlan plan;
  // Fused computes five products where split computes seven, but on one multiprocessor a head: worth it once the heads fill half the chip.
  const bool many = static_cast<std::int64_t>(forward.images) * forward.heads * 2 >= device.multiprocessors;
  if (wanted == BackwardForm::fused || (wanted == BackwardForm::automatic && serves && many)) {
    const std::int32_t slabs = divided_up(forward.length, kSlab);
    plan.form = BackwardForm::fused;
    plan.keys.warps = slabs;
    plan.keys.shared_bytes = keys_shared_bytes(forward, slabs, true);
    return plan;
  }
  const std::int32_t padded = padded_head(forward.head_size);
  std::int32_t most = keys_warps(padded);
  while (most > 1 && keys_shared_bytes(forward, most, false) > device.shared_bytes) most--;
  plan.keys = slab_grid(forward, forward.length, most, device);
  plan.keys.shared_bytes = keys_shared_bytes(forward, plan.keys.warps, false);
  require(plan.keys.shared_bytes <= device.shared_bytes, "attention_backward",
          "the sequence is too long: lse and row sums do not fit into shared memory");
  plan.queries = slab_grid(forward, queries_of(forward), 4, device);
  plan.queries.shared_bytes =
      std::min(divided_up(forward.length, chunk_keys(padded)), kStages) * 2 * chunk_keys(padded) * pitch_bytes(padded);
  return plan;
}

void attention(const Attention& args, const AttentionDevice& device, rt::Stream stream) {
  check(args, "attention");
  if (args.images <= 0 || args.heads <= 0) return;
  const Attention full = with_queries(args);
  if (!attention_on_matrix_units(full)) return launch_attention_plain(full, stream);
  const AttentionGrid grid = attention_forward_grid(full, device);
  full.precision == Precision::bf16 ? launch_attention_bf16(full, grid, stream) : launch_attention_fp16(full, grid, stream);
}

void attention_backward(const AttentionBackward& args, const AttentionDevice& device, BackwardForm wanted, rt::Stream stream) {
  check(args.forward, "attention_backward");
  if (args.forward.images <= 0 || args.forward.heads <= 0) return;
  AttentionBackward full = args;
  full.forward = with_queries(args.forward);
  if (!attention_on_matrix_units(full)) return launch_attention_backward_plain(full, stream);
  const AttentionBackwardPlan plan = attention_backward_plan(full, device, wanted);
  full.forward.precision == Precision::bf16 ? launch_attention_backward_bf16(full, plan, stream)
                                            : launch_attention_backward_fp16(full, plan, stream);
}

void attention(const Attention& args, rt::Stream stream) { attention(args, device_of_thread(), stream); }

void attention_backward(const AttentionBackward& args, rt::Stream stream) {
  attention_backward(args, device_of_thread(), BackwardForm::automatic, stream);
}

}  // namespace signstep::kernels
