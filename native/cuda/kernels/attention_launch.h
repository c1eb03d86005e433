// How attention decides: pure functions from the shape to the form of the kernels, so that tests can ask them and force them, and the doors
// to the files that hold the kernels of one type.
#pragma once

#include <cstdint>

#include "kernels.h"

namespace signstep::kernels {

struct AttentionDevice {
  std::int32_t multiprocessors = 1;
  std::int32_t shared_bytes = 99 * 1024;  // that a block may have
};
// Shared memory a block may have, by compute capability: 163 KB on 8.0 and 8.7, 227 KB on 9.0 to 11.0, 99 KB on the others.
std::int32_t attention_shared_bytes(std::uint32_t compute_capability);

// The head sizes that kernels exist for; a head is padded with zeros to the next.
std::int32_t padded_head(std::int32_t head_size);  // 32, 64, 80, 96 or 128; 0: too large

inline constexpr std::int32_t kSlab = 16;        // rows of the sequence that a warp computes at a time
inline constexpr std::int32_t kFusedHead = 64;   // the largest padded head of the fused backward kernel: dk and dv in 128 registers
inline constexpr std::int32_t kFusedSlabs = 16;  // the longest sequence, a warp a slab; from 13 warps on a thread has 128 registers anyway
inline constexpr std::int32_t kStages = 4;       // of chunks of keys, forward and dq: three under way while one is read
inline constexpr std::int32_t kQueries = 32;     // in a stage of the backward kernel over keys
inline constexpr std::int32_t kQueryStages = 3;

// Keys in a chunk: four chunks of keys and values leave room for a second block beside them on a chip with 163 KB or more, and
// fit anywhere.
inline constexpr std::int32_t chunk_keys(std::int32_t padded) { return padded <= 80 ? 64 : 32; }

// Warps of a block of the backward kernel over keys, at most, where it is not fused.
inline constexpr std::int32_t keys_warps(std::int32_t padded) { return padded <= 80 ? 8 : 4; }

// Whether the matrix units serve it: a 16-bit type, every row begins on 16 bytes and the head size is a multiple of 8.
bool attention_on_matrix_units(const Attention& args);
bool attention_on_matrix_units(const AttentionBackward& args);

// A grid of images * heads by `parts`; a block has `warps` warps, each with every (parts * warps)-th slab.
struct AttentionGrid {
  std::int32_t parts = 1, warps = 1;
  std::int32_t shared_bytes = 0;
  std::int32_t slots = kStages;  // chunks of keys in shared memory, kStages or more, or all of them
};
AttentionGrid attention_forward_grid(const Attention& args, const AttentionDevice& device);

// The forms of the backward pass on the matrix units.
// fused: one kernel for dq, dk and dv, a block an image and head; dS is exchanged through shared memory.
// split: a kernel over blocks of keys for dk and dv, one over blocks of queries for dq, both computing P and dS.
enum class BackwardForm : std::uint32_t { automatic = 0, fused = 1, split = 2 };
struct AttentionBackwardPlan {
  BackwardForm form = BackwardForm::split;
  AttentionGrid keys, queries;  // fused: keys alone
};
// `wanted` other than automatic is obeyed; throws rt::Failure where it cannot serve the shape.
AttentionBackwardPlan attention_backward_plan(const AttentionBackward& args, const AttentionDevice& device,
                                              BackwardForm wanted = BackwardForm::automatic);

// The launchers with everything given, and the families of kernels: of a 16-bit type on the matrix units, and plain for all
// types. These want `queries` said, not 0.
void attention(const Attention& args, const AttentionDevice& device, rt::Stream stream);
void attention_backward(const AttentionBackward& args, const AttentionDevice& device, BackwardForm wanted, rt::Stream stream);

void launch_attention_bf16(const Attention& args, const AttentionGrid& grid, rt::Stream stream);
void launch_attention_fp16(const Attention& args, const AttentionGrid& grid, rt::Stream stream);
void launch_attention_plain(const Attention& args, rt::Stream stream);
void launch_attention_backward_bf16(const AttentionBackward& args, const AttentionBackwardPlan& plan, rt::Stream stream);
void launch_attention_backward_fp16(const AttentionBackward& args, const AttentionBackwardPlan& plan, rt::Stream stream);
void launch_attention_backward_plain(const AttentionBackward& args, rt::Stream stream);

}  // namespace signstep::kernels
