// The launchers of all kernels, plain structs and pointers: what the engine calls and the tests check. Each is defined in the file of its
// operation. A launcher checks shapes it cannot serve (throws rt::Failure), launches on `stream` and returns; nothing here waits.
//
// Conventions
//   void pointers    device memory of elements of the given precision ("value"); float and int pointers are what they say
//   live             device pointer to the number of images under attack, or nullptr for all: row r of a matrix with `rows_per_image` rows an
//                    image is computed only while r < *live * rows_per_image. Rows beyond are left as they were or hold garbage.
//   sums             accumulate in float32; results do not depend on the launch order (no floating-point atomics)
#pragma once

#include <cstdint>

#include "../../core/program/program.h"
#include "../engine/runtime.h"

namespace signstep::kernels {

enum class Precision : std::uint32_t { bf16 = 0, fp16 = 1, float32 = 2 };
inline std::size_t bytes_of(Precision p) { return p == Precision::float32 ? 4 : 2; }

struct Live {
  const std::int32_t* count = nullptr;
  std::int32_t rows_per_image = 0;  // 0: every row
};

// ---- gemm: out = epilogue(a . b^T), a [rows,k], b [n,k] ------------------------------------------------------------------------------
enum class Epilogue : std::uint32_t {
  store = 0,          // out = residual + scale * (acc + bias); each of the three may be left out
  gelu_erf = 1,       // aux = acc + bias (the pre-activation, if aux is given), out = gelu(acc + bias)
  gelu_tanh = 2,
  gelu_erf_backward = 3,   // out = acc * gelu'(aux)
  gelu_tanh_backward = 4,
  quick_gelu = 5,          // x * sigmoid(1.702 x)
  quick_gelu_backward = 6,
  silu = 7,
  silu_backward = 8,
  relu = 9,                // relu(residual + acc + bias), aux = the argument, if aux is given
  relu_backward = 10,      // out = aux > 0 ? residual + acc : 0; aux: the pre-activation or relu's output
  store_float = 11,        // as store, but out is float32 (logits, image gradient)
  step_linf = 12,          // the end of the backward pass: acc is the image gradient in patch layout, see PatchStep
  norm_backward = 13,      // out = residual + rstd * (acc - xn * sum(dots) / n), xn = (x - mean) * rstd, aux = x: see RowNorm
  // Columns 2j and 2j + 1 of acc + bias are a_j and b_j.
  swiglu = 14,             // aux [., n] = a and b (if given), out [., n / 2] = silu(a) * b; n is even
  swiglu_backward = 15,    // out [., 2n] = (acc * b * silu'(a), acc * silu(a)) in turns, aux [., 2n]: a and b
};

// LayerNorm folded into its neighbours. The product that makes its input x leaves statistics of each 64 columns of a row, of the values as
// stored: their mean and the sum of the squared deviations from it (RMSNorm: 0 and the sum of squares), float32 [rows, ceil(n / 64), 2].
// Whoever needs mean and rstd = 1 / sqrt(variance + epsilon) of a row combines them, in order.
inline constexpr std::int32_t kStatisticsColumns = 64;
inline std::int32_t statistics_parts(std::int32_t columns) { return (columns + kStatisticsColumns - 1) / kStatisticsColumns; }

struct RowNorm {
  const float* statistics = nullptr;   // of a's rows; norm_backward: of x
  // [n], the sums of b's rows as stored: a product of LN(a) is rstd * (acc - mean * column_sums). Left out where the mean is not subtracted.
  const float* column_sums = nullptr;
  float epsilon = 0;
};

// Row r of the logical matrix is row r / group * stride + offset + r % group of the stored one; group 0: row r.
struct RowMap {
  std::int32_t group = 0, stride = 0, offset = 0;
};

// The step of PGD in the epilogue: x = clamp(project(x + direction * alpha * sign(acc))) in float32 with the rounding of
// signstep_api.step_linf, and operand = x in the value type. x, x0: float32 [rows, n] (patch layout), operand [rows, n].
struct PatchStep {
  float* x = nullptr;
  const float* x0 = nullptr;
  void* operand = nullptr;
  const float* alpha = nullptr;  // [B], positive or negative: direction * alpha
  const float* eps = nullptr;    // [B]; +infinity: no projection
  const std::uint8_t* hold = nullptr;    // [B] or nullptr: 1 = do not move this image
  std::int32_t* nan_count = nullptr;     // [B], added to
  std::int32_t* nonzero = nullptr;       // [B], set to 1 where any element of the gradient was not zero
};

// Both scales given: a and b are e4m3, an element stands for itself times the scale of its row (quantise_rows); values are bf16, k is a multiple
// of 16, n of 8, every array begins on 16 bytes, a has no row map, and step_linf is not to be had. Only where has_e4m3.
struct Gemm {
  Precision precision = Precision::bf16;
  const void* a = nullptr;
  const void* b = nullptr;
  const float* a_scale = nullptr;  // [rows], by logical row
  const float* b_scale = nullptr;  // [n]
  void* out = nullptr;
  std::int64_t rows = 0;
  std::int32_t n = 0, k = 0;
  Epilogue epilogue = Epilogue::store;
  const float* bias = nullptr;    // [n]
  const float* scale = nullptr;   // [n]
  const void* residual = nullptr;  // [stored rows of out, n]
  void* aux = nullptr;             // [stored rows of out, n]
  const float* table = nullptr;    // [out_map.group, n] added to out: position embedding
  RowMap a_map, out_map;
  Live live;                       // in logical rows
  PatchStep step;
  RowNorm norm;                    // a is normalised before it is multiplied (not with step_linf), or norm_backward; no row maps
  float* statistics = nullptr;     // of out's stored rows, written (store only)
  bool rms = false;                // of the statistics that are written
  // sum(dy * (y - bias)) over each 64 columns of a row, float32: dy the result, y the pre-activation. Written by the derivatives of
  // activations (swiglu_backward: of the two results of each column) [stored rows of out, ceil(n / 64)], read by norm_backward [rows, dot_parts].
  float* dots = nullptr;
  std::int32_t dot_parts = 0;
};
// Chooses the matrix core and tile; k and n may be anything >= 1 (alignment decides the core; misaligned falls back to scalar loads).
void gemm(const Gemm& gemm, rt::Stream stream);

// Whether there are kernels for products in e4m3 for a compute capability.
bool has_e4m3(std::uint32_t compute_capability);

// out [rows, columns] in e4m3 and scale [rows]: the greatest magnitude of a row becomes 448, a row of zeros has scale 0, a row with a NaN or an
// infinity holds a NaN. Precision bf16 or float32; columns a multiple of 16; both matrices on 16 bytes.
struct QuantiseRows {
  Precision precision = Precision::bf16;
  const void* in = nullptr;
  void* out = nullptr;
  float* scale = nullptr;
  std::int64_t rows = 0;  // of out
  std::int32_t columns = 0;
  RowMap in_map;
  Live live;
};
void quantise_rows(const QuantiseRows& args, rt::Stream stream);

// ---- windows over images ---------------------------------------------------------------------------------------------------------------
// Images [images, height, width, channels]. Position (y, x) of rows_y x rows_x sees, as tap (i, j) of taps_y x taps_x, the pixel
// (first_y + y * stride_y + i * step_y, first_x + x * stride_x + j * step_x); outside of the image it sees zeros (pools: nothing).
struct Window {
  std::int32_t height = 0, width = 0, channels = 0;
  std::int32_t rows_y = 0, rows_x = 0, stride_y = 1, stride_x = 1, first_y = 0, first_x = 0;
  std::int32_t taps_y = 1, taps_x = 1, step_y = 1, step_x = 1;
};
// Position (y, x) of a window is written to pixel (first_y + y * stride_y, first_x + x * stride_x) of images [images, height, width, n].
struct Grid {
  std::int32_t height = 0, width = 0, stride_y = 1, stride_x = 1, first_y = 0, first_x = 0;
};
// The gemm whose row (image, y, x) of a is what the window sees there, tap by tap: k = taps_y * taps_x * channels. No such matrix is formed.
struct Convolution {
  Gemm product;  // rows, k and the row maps are set here; the table and step_linf have no place
  std::int32_t images = 0;
  Window window;
  Grid grid;  // of out, residual and aux
};
void convolution(const Convolution& args, rt::Stream stream);

struct Pool {
  Precision precision = Precision::bf16;
  std::int32_t images = 0;
  Window window;
  bool whole = false;  // averages: divided by taps_y * taps_x everywhere, else by the taps inside
  Live live;           // rows_per_image: rows_y * rows_x, or 0
};
// out [images, rows_y, rows_x, channels]; a NaN is the greatest of its window.
void max_pool(const Pool& pool, const void* in, void* out, rt::Stream stream);
// dx [images, height, width, channels], all of it: the gradient of each window goes to the first of its greatest pixels.
void max_pool_backward(const Pool& pool, const void* x, const void* dy, void* dx, rt::Stream stream);
void average_pool(const Pool& pool, const void* in, void* out, rt::Stream stream);
void average_pool_backward(const Pool& pool, const void* dy, void* dx, rt::Stream stream);

// ---- rows ------------------------------------------------------------------------------------------------------------------------------
// y = (x - mean) * rstd (rms: x * rstd), rstd = 1 / sqrt(var + epsilon), population variance; statistics in float32, two passes on chip.
struct LayerNorm {
  Precision precision = Precision::bf16;
  const void* x = nullptr;
  void* y = nullptr;
  float* rstd = nullptr;  // [rows]
  std::int64_t rows = 0;
  std::int32_t columns = 0;
  bool rms = false;
  float epsilon = 0;
  Live live;
};
void layer_norm(const LayerNorm& args, rt::Stream stream);

// The statistics of RowNorm, of rows that no product has made.
struct RowStatistics {
  Precision precision = Precision::bf16;
  const void* x = nullptr;
  float* statistics = nullptr;  // [rows, ceil(columns / 64), 2]
  std::int64_t rows = 0;
  std::int32_t columns = 0;
  bool rms = false;
  Live live;
};
void row_statistics(const RowStatistics& args, rt::Stream stream);

// dx = addend + rstd * (dy - mean(dy) - y * mean(dy * y)); rms: without mean(dy). Of a folded LayerNorm x is given in place of y, and
// statistics in place of rstd.
struct LayerNormBackward {
  Precision precision = Precision::bf16;
  const void* dy = nullptr;
  const void* y = nullptr;
  const float* rstd = nullptr;
  const float* statistics = nullptr;
  float epsilon = 0;  // with statistics
  const void* addend = nullptr;  // or nullptr
  void* dx = nullptr;
  std::int64_t rows = 0;
  std::int32_t columns = 0;
  bool rms = false;
  Live live;
};
void layer_norm_backward(const LayerNormBackward& args, rt::Stream stream);

void softmax(Precision precision, const void* x, void* y, std::int64_t rows, std::int32_t columns, rt::Stream stream);
// dx = y * (dy - sum(dy * y))
void softmax_backward(Precision precision, const void* y, const void* dy, void* dx, std::int64_t rows, std::int32_t columns, rt::Stream stream);

// ---- attention -------------------------------------------------------------------------------------------------------------------------
// Element (image, head, row, column) of q lies at offset + image*stride_image + head*stride_head + row*stride_row + column.
struct Strided {
  std::int64_t offset = 0, image = 0, head = 0, row = 0;
};
// out = softmax(scale * q k^T) v per image and head; lse = log sum exp of the scaled scores, float32 [images, heads, queries].
struct Attention {
  Precision precision = Precision::bf16;
  const void* q = nullptr;
  const void* k = nullptr;
  const void* v = nullptr;
  void* out = nullptr;
  float* lse = nullptr;
  Strided q_at, k_at, v_at, out_at;
  std::int32_t images = 0, heads = 0, length = 0, head_size = 0;
  float scale = 1;
  const std::int32_t* live = nullptr;  // number of images under attack, or nullptr
  std::int32_t queries = 0;            // rows of q and out; 0: `length`, which those of k and v are
};
void attention(const Attention& args, rt::Stream stream);
// Gradients dq, dk, dv, laid out as q, k, v; dout as out. Deterministic, no atomics; the row sums of dout * out are recomputed inside.
struct AttentionBackward {
  Attention forward;  // q, k, v, out and lse as the forward pass left them
  const void* dout = nullptr;
  void* dq = nullptr;
  void* dk = nullptr;
  void* dv = nullptr;
};
void attention_backward(const AttentionBackward& args, rt::Stream stream);

// ---- generic -----------------------------------------------------------------------------------------------------------------------------
// An operand of any element type: `type` says whether data is `precision` or float32 (int32 only where said).
struct Operand {
  void* data = nullptr;
  program::ElementType type = program::ElementType::value;
};

enum class Function : std::uint32_t {
  // one operand
  identity = 0, negate = 1, absolute = 2, exponential = 3, logarithm = 4, square_root = 5, reciprocal = 6, sigmoid = 7, hyperbolic_tangent = 8,
  error_function = 9, gelu_erf = 10, gelu_tanh = 11, quick_gelu = 12, silu = 13, relu = 14, sign = 15, softplus = 16, sine = 17, cosine = 18,
  floor = 19, ceiling = 20, round_even = 21,
  scale_shift = 22,   // p0 * a + p1
  clip = 23,          // p0 <= a <= p1
  leaky_relu = 24,    // slope p0
  elu = 25,           // alpha p0
  hard_sigmoid = 26,  // clip(p0 * a + p1, 0, 1)
  reciprocal_square_root = 27,
  // two operands
  add = 40, subtract = 41, multiply = 42, divide = 43, power = 44, minimum = 45, maximum = 46,
  greater = 47, greater_or_equal = 48, less = 49, less_or_equal = 50, equal = 51,  // 1 or 0
  gelu_erf_backward = 60, gelu_tanh_backward = 61, quick_gelu_backward = 62, silu_backward = 63, relu_backward = 64,  // a: pre-activation, b: gradient
  // three operands
  select = 80,        // a != 0 ? b : c
  multiply_add = 81,  // a * b + c
};
struct Elementwise {
  Precision precision = Precision::bf16;
  Function function = Function::identity;
  Operand out, a, b, c;
  std::int32_t rank = 0;
  std::int64_t dims[6] = {}, a_strides[6] = {}, b_strides[6] = {}, c_strides[6] = {};
  float parameters[4] = {};
};
void elementwise(const Elementwise& args, rt::Stream stream);

enum class Reduction : std::uint32_t { sum = 0, mean = 1, maximum = 2, minimum = 3, sum_squares = 4, sum_magnitudes = 5, product = 6 };
struct Reduce {
  Precision precision = Precision::bf16;
  Reduction function = Reduction::sum;
  Operand out, in;
  std::int32_t rank = 0;
  std::int64_t dims[6] = {}, strides[6] = {};
  std::uint32_t reduced = 0;
};
void reduce(const Reduce& args, rt::Stream stream);

struct Copy {
  Precision precision = Precision::bf16;
  Operand out, in;
  std::int32_t rank = 0;
  std::int64_t dims[6] = {}, in_strides[6] = {}, out_strides[6] = {};
  std::int64_t in_offset = 0, out_offset = 0;
};
void copy(const Copy& args, rt::Stream stream);

struct BatchedMatmul {  // out = alpha * a . b, float32 accumulation, any strides
  Precision precision = Precision::bf16;
  Operand out, a, b;
  std::int32_t m = 0, n = 0, k = 0;
  std::int64_t batch[3] = {1, 1, 1}, a_batch[3] = {}, b_batch[3] = {};
  std::int64_t a_row = 0, a_column = 0, b_row = 0, b_column = 0;
  float alpha = 1;
};
void batched_matmul(const BatchedMatmul& args, rt::Stream stream);

struct Gather {
  Precision precision = Precision::bf16;
  Operand out, in;
  const std::int32_t* indices = nullptr;
  std::int64_t outer = 0, axis = 0, inner = 0, count = 0;
};
void gather(const Gather& args, rt::Stream stream);
void scatter_add(const Gather& args, rt::Stream stream);

void fill(Precision precision, Operand out, std::int64_t elements, float value, rt::Stream stream);

// Constants at load: in float32 [rows, columns] -> out in `type`, transposed or not.
void convert(Precision precision, const float* in, Operand out, std::int64_t rows, std::int64_t columns, bool transposed, rt::Stream stream);

// ---- loss --------------------------------------------------------------------------------------------------------------------------------
// Per-sample loss of float32 logits [images, classes], prediction (first highest; -1 where a logit is NaN) and d loss / d logits in `precision`.
// The definitions are those of src/backend/loss.ts and src/autodiff/losses.ts. dlogits may be nullptr. One block (or warp) an image.
struct LossHead {
  Precision precision = Precision::bf16;
  const float* logits = nullptr;
  void* dlogits = nullptr;
  std::int32_t images = 0, classes = 0;
  program::Loss loss = program::Loss::cross_entropy;
  bool targeted = false;
  const std::int32_t* labels = nullptr;   // [images]
  const std::int32_t* targets = nullptr;  // [images], targeted only
  const float* reference = nullptr;       // [images, classes] logits, KL only
  float* value = nullptr;                 // [images]
  std::int32_t* predictions = nullptr;    // [images]
  std::uint8_t* fooled = nullptr;         // [images] or nullptr: prediction != label; targeted: prediction == target
  const std::int32_t* live = nullptr;
};
void loss_head(const LossHead& args, rt::Stream stream);

// ---- perturbation, stand-alone -----------------------------------------------------------------------------------------------------------
// State of images under attack; element e of an image in `layout`. All results equal those of the CPU core bit for bit (signstep.h).
struct Images {
  Precision precision = Precision::bf16;
  float* x = nullptr;           // [images, elements] in `layout`
  const float* x0 = nullptr;    // the same
  void* operand = nullptr;      // value type, rewritten whenever x changes
  std::int32_t images = 0, channels = 0, height = 0, width = 0, patch = 0;  // patch 0: planes
  const std::int32_t* live = nullptr;
  std::int64_t elements() const { return static_cast<std::int64_t>(channels) * height * width; }
};
// planes float32 [images,C,H,W] -> x0, x (layout) and operand
void import_images(const Images& to, float* x0, const float* planes, rt::Stream stream);
// from float32 in `layout` -> planes
void export_images(const Images& like, const float* from, float* planes, rt::Stream stream);

struct StartRule {
  enum class Kind : std::uint32_t { clean = 0, uniform = 1, l2_ball = 2, l2_sphere = 3 } kind = Kind::clean;
  const float* eps = nullptr;  // [images], device
  float scale = 1;
  const std::uint64_t* seed = nullptr;        // device, so that a recorded graph can be replayed with another seed
  const std::int32_t* sample_indices = nullptr;  // [images], device
  const std::uint32_t* restart = nullptr;     // device
  float* norms = nullptr;                     // [images] scratch (l2)
};
void start(const Images& images, const StartRule& rule, rt::Stream stream);

struct StepRule {
  enum class Kind : std::uint32_t { linf = 0, l2 = 1, momentum = 2 } kind = Kind::linf;
  const float* gradient = nullptr;  // float32 [images, elements] in `layout`
  const float* alpha = nullptr;     // [images], signed: direction * alpha
  const float* eps = nullptr;       // [images]; +infinity: no projection (linf only)
  float decay = 1;
  float* momentum = nullptr;        // [images, elements] in `layout`
  const std::uint8_t* hold = nullptr;
  std::int32_t* nan_count = nullptr;  // [images], set
  std::int32_t* nonzero = nullptr;    // [images], set to 0 or 1
  double* sums = nullptr;             // [images * chunks(elements)] scratch for norms: the CPU's order of summation, see signstep.h
};
std::int64_t step_scratch_doubles(std::int64_t images, std::int64_t elements);
void step(const Images& images, const StepRule& rule, rt::Stream stream);

// Per image: where value is better than best_value (direction +1: higher, -1: lower; NaN never), copies x to best and value to best_value.
void remember(const Images& images, const float* value, float* best_value, float* best, int direction, rt::Stream stream);

// ---- images that are finished leave the batch ---------------------------------------------------------------------------------------------
// Images whose flag is 1: x goes to place order[image] of `finished`, in the layout of x.
void finish_images(const Images& images, const std::uint8_t* fooled, const std::int32_t* order, float* finished, rt::Stream stream);
// Of the first *live positions those with flag 0, ascending: rows. Their number goes to *live and *left. A prefix sum on the device.
void surviving_rows(const std::uint8_t* fooled, std::int32_t* live, std::int32_t* rows, std::int32_t* left, rt::Stream stream);

// Rows `rows` [*count] (ascending) of several arrays move to their fronts, in place; both numbers lie on the device.
struct KeptRows {
  static constexpr int kMost = 16;
  struct Array {
    void* data = nullptr;
    std::int64_t bytes = 0;  // of a row, an even number
  };
  Array arrays[kMost];
  int size = 0;
  const std::int32_t* rows = nullptr;
  const std::int32_t* count = nullptr;

  void add(void* data, std::int64_t bytes) { arrays[size++] = {data, bytes}; }
};
void keep_rows(const KeptRows& kept, rt::Stream stream);

}  // namespace signstep::kernels
