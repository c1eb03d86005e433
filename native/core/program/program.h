// The kernel program: what the lowering of a model produces, what a plan file holds and what a device runs. It names no device, no
// batch size and no precision: all three are chosen when it is loaded.
//
// Dimensions: a value d >= 0 stands for itself, d < 0 for -d times the batch capacity B of the loaded program.
// Element types of buffers: `value` is the precision chosen at load (bf16, fp16 or float32), the others are fixed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace signstep::program {

using Dim = std::int64_t;
inline std::int64_t resolve(Dim dim, std::int64_t batch) { return dim >= 0 ? dim : -dim * batch; }

enum class ElementType : std::uint32_t { value = 0, float32 = 1, int32 = 2 };

// How a constant is stored on the device.
enum class Storage : std::uint32_t {
  activation = 0,  // no constant: written by a step
  as_is = 1,       // row-major, converted to the buffer's element type
  transposed = 2,  // the plan holds [rows, columns]; the device holds [columns, rows]
  row_sums = 3,    // the plan holds [rows, columns]; the device holds float32 [rows]: sums of the elements once rounded to the value type
};

struct Buffer {
  ElementType type;
  Storage storage;
  Dim elements;               // in all; of a constant: rows * columns, of row sums: rows
  std::int64_t rows, columns;  // of a constant that is stored transposed or as row sums
  std::uint64_t data;         // offset of a constant's float32 (int32 for int32) elements in the plan's data
};

enum class Op : std::uint32_t {
  gemm = 1,
  layer_norm = 2,
  layer_norm_backward = 3,
  attention = 4,
  attention_backward = 5,
  elementwise = 6,
  reduce = 7,
  copy = 8,
  softmax = 9,
  softmax_backward = 10,
  batched_matmul = 11,
  gather = 12,
  scatter_add = 13,
  fill = 14,
  loss = 15,
  convolution = 16,
  max_pool = 17,
  max_pool_backward = 18,
  average_pool = 19,
  average_pool_backward = 20,
  row_statistics = 21,
};

inline constexpr int kBuffers = 12, kInts = 40, kFloats = 4, kNameBytes = 64;
inline constexpr std::int32_t kNone = -1;

/*
 * One kernel launch. `buffers` index Program::buffers (kNone: left out). Fields by op, in the order of the arrays; what a kernel does with
 * them is said at its launcher in native/cuda/kernels.
 *
 *  gemm                buffers: a, b (constant [n,k] as stored), out, bias (float32), scale (float32), residual, aux, table (float32),
 *                      norm_statistics, column_sums (row sums of b), statistics, dots: see RowNorm; all float32
 *                      ints: rows, n, k, epilogue, a_group, a_stride, a_offset, out_group, out_stride, out_offset,
 *                      live (1: rows belong to images in order, so that those of finished images can be left out),
 *                      rms (of the statistics), dot_parts (norm_backward)
 *                      (swiglu: out [., n / 2], aux [., n]; swiglu_backward: out, aux [., 2n], bias [2n])
 *                      floats: epsilon (with norm_statistics)
 *  layer_norm          buffers: x, y, rstd (float32 [rows])      ints: rows, columns, rms, live      floats: epsilon
 *  layer_norm_backward buffers: dy, y, rstd, dx, addend, statistics (in place of rstd: then y is what was normalised)
 *                      ints: rows, columns, rms, live      floats: epsilon (with statistics)
 *  row_statistics      buffers: x, statistics (float32 [rows, ceil(columns / 64), 2])   ints: rows, columns, rms, live
 *  attention           buffers: q, k, v, out, lse (float32 [batch, heads, queries])
 *                      ints: batch, heads, length, head_size, then offset, stride_batch, stride_head, stride_row of q, k, v, out, then
 *                      queries (rows of q and out; 0: length, which those of k and v are)
 *                      (finished images are left out where batch is B itself)
 *                      floats: scale
 *  attention_backward  buffers: q, k, v, out, lse, dout, dq, dk, dv; ints, floats as attention: dq, dk, dv lie as q, k, v, dout as out
 *  elementwise         buffers: out, a, b, c       ints: function, rank, dims[6], strides of a [6], of b [6], of c [6], offsets of a, b, c
 *                      floats: parameters
 *                      (out is contiguous; a stride of 0 broadcasts; strides are dimensions too)
 *  reduce              buffers: out, in            ints: function, rank, dims[6], strides of in [6], reduced (bit i: axis i is summed over),
 *                      offset of in
 *                      (out is contiguous over the axes kept)
 *  copy                buffers: out, in            ints: rank, dims[6], strides of in [6], strides of out [6], offset of in, offset of out
 *  softmax             buffers: out, in            ints: rows, columns
 *  softmax_backward    buffers: dx, y, dy          ints: rows, columns
 *  batched_matmul      buffers: out, a, b          ints: m, n, k, batch dims[3], a: strides of the batch dims [3], row, column; b: the same 5;
 *                      offsets of a, b
 *                      (out contiguous [batch…, m, n])     floats: alpha
 *  gather              buffers: out, in, indices (int32 constant)    ints: outer, axis length, inner, count: out[o,i,:] = in[o,index[i],:]
 *  scatter_add         buffers: out, in, indices   ints: the same: out[o,j,:] = sum over i with index[i] = j of in[o,i,:]
 *  fill                buffers: out                ints: elements      floats: value
 *  loss                buffers: logits (float32), dlogits            ints: classes, loss, targeted
 *                      (labels, targets, reference logits, the loss and the predictions are the attack's own)
 *  convolution         buffers: a [images, height, width, channels], b (constant [n, taps_y, taps_x, channels] as stored), out, bias, scale,
 *                      residual, aux: as those of gemm
 *                      ints: images, n, epilogue, live, then the window: height, width, channels, rows_y, rows_x, stride_y, stride_x, first_y,
 *                      first_x, taps_y, taps_x, step_y, step_x, then the grid of out: height, width, stride_y, stride_x, first_y, first_x
 *                      (a window and a grid are plain numbers; first_y and first_x are negative where there is padding)
 *                      (transposed convolutions too: a stride s makes s x s steps, each of which writes the pixels of one grid)
 *  max_pool            buffers: out, in            ints: images, live, window (13, as above)
 *  max_pool_backward   buffers: dx, x, dy          ints: the same; each window's gradient goes to the first of its greatest pixels
 *  average_pool        buffers: out, in            ints: the same, then whole (1: the divisor is the number of taps, 0: of those inside)
 *  average_pool_backward  buffers: dx, dy          ints: the same
 */
struct Step {
  Op op;
  std::int32_t buffers[kBuffers];
  Dim ints[kInts];
  float floats[kFloats];
  char name[kNameBytes];  // of the model's node, for messages; zero-terminated
};

// Where the pixels of an image lie in the operand of the first product and in the image gradient.
enum class ImageLayout : std::uint32_t {
  planes = 0,   // [B, C, H, W]
  patches = 1,  // [B, H/p * W/p, C * p * p]: patch by patch, channel, row, column within it
};

enum class Loss : std::uint32_t { cross_entropy = 0, margin = 1, dlr = 2, kl = 3 };

struct Header {
  std::uint32_t channels, height, width, classes;
  ImageLayout layout;
  std::uint32_t patch;  // side of a patch; 0 for planes
  Loss loss;
  std::uint32_t targeted;
  std::int32_t input;           // buffer (value): images in [0,1] in `layout`, what the first step reads
  std::int32_t logits;          // buffer (float32) [B, classes]; forward and gradient both end up there
  std::int32_t image_gradient;  // buffer (float32) in `layout`, written by the last gradient step
};

struct Program {
  Header header;
  std::vector<Buffer> buffers;
  std::vector<Step> forward;   // input -> logits
  std::vector<Step> gradient;  // input -> logits, loss, image_gradient
  const std::uint8_t* data = nullptr;  // constants; lives as long as what was parsed
  std::size_t data_bytes = 0;
};

/*
 * The plan file, little-endian, offsets in bytes from its start:
 *   0   magic "SIGNPLAN"
 *   8   u32 version (kPlanVersion), u32 CRC-32 (IEEE 802.3, zlib's) of all bytes from 16 on
 *   16  u64 bytes of the file
 *   24  u32 buffers, u32 forward steps, u32 gradient steps, u32 bytes of the source note
 *   40  u64 offset of the data section (a multiple of 64), u64 its bytes
 *   56  Header (11 x 4 bytes), 4 bytes of zeros
 *   104 Buffers (40 bytes each: u32 type, u32 storage, i64 elements, i64 rows, i64 columns, u64 data), Steps of forward, Steps of gradient
 *       (u32 op, i32 buffers[12], 4 bytes of zeros, i64 ints[40], f32 floats[4], char name[64]: 456 bytes each), the source note (UTF-8: name
 *       and SHA-256 of the model, for people), zeros up to the data section, data
 * Everything is checked before it is believed: sizes, indices, shapes against buffer sizes.
 */
inline constexpr std::uint32_t kPlanVersion = 2;

// Parses and verifies; throws PlanError, whose message says what was expected and found. `bytes` must outlive the program.
struct PlanError {
  std::string message;
};
Program parse_plan(const void* bytes, std::size_t size);

// Where each activation buffer lies in one allocation: buffers whose lifetimes do not meet share memory. Lifetimes are counted in steps
// of `steps`; `pinned` buffers (input, logits, image gradient) live throughout.
struct MemoryPlan {
  std::vector<std::uint64_t> offsets;  // per buffer (constants: unused), then per scratch
  std::uint64_t bytes = 0;
};
// Memory that a device wants beside the buffers, during the steps first … last.
struct Scratch {
  std::size_t first, last;
  Dim bytes;
};
MemoryPlan plan_memory(const Program& program, const std::vector<Step>& steps, std::int64_t batch, std::size_t value_bytes,
                       const std::vector<Scratch>& scratch = {});

}  // namespace signstep::program
