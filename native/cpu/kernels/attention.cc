// attention() and attention_backward(): a task is a head of an image, in blocks of queries whose scores stay in the second-level cache. The
// rows of scores are whole, so softmax needs no rescaling, and the exponential runs over vectors of one row.
#include <cmath>
#include <string>

#include "../launch.h"
#include "exponential.h"
#include "head_matrix.h"

namespace signstep::kernels {
namespace {

using cpu::HeadProduct;
using cpu::kLanes;
using cpu::round_up;
using cpu::Scratch;
using cpu::Unit;

constexpr std::int32_t kLargestHead = 128;

// Rows of a block: of equal size, a multiple of kTileRows (and so even), so that `bytes_per_key` times keys stays within 512 KB, beside
// the packed operands in 1 MB. At most 198: the operands are read again for each block, and beyond that there is nothing left to gain (of
// 577 rows, blocks of 96 were 5 to 15 % slower; of 197, no size is).
std::size_t block_rows(std::size_t queries, std::size_t keys, std::size_t bytes_per_key) {
  constexpr std::size_t kBytes = 512 * 1024, kMost = 198;
  const std::size_t most = std::clamp(kBytes / (round_up(keys, kLanes) * bytes_per_key), 2 * cpu::kTileRows, kMost);
  const std::size_t blocks = (queries + most - 1) / most;
  return round_up((queries + blocks - 1) / blocks, cpu::kTileRows);
}

std::size_t queries_of(const Attention& args) { return static_cast<std::size_t>(args.queries > 0 ? args.queries : args.length); }

// One thread's, for the head at hand.
struct Workspace {
  Scratch<Unit> q_rows, k_rows, v_rows, dout_rows;
  Scratch<Unit> k_transposed, v_transposed;
  Scratch<Unit> q_pairs, k_pairs, v_pairs, dout_pairs;
  Scratch<float> scores, dp, head, dk, dv;
  Scratch<Unit> p, ds, ds_pairs;
  Scratch<float> row_factors;
};
Workspace& workspace() {
  thread_local Workspace mine;
  return mine;
}

struct Sizes {
  std::size_t length, width;  // of the keys, of a head
  std::size_t keys, columns;  // both rounded up to 16
};
Sizes sizes_of(const Attention& args) {
  const auto length = static_cast<std::size_t>(args.length), width = static_cast<std::size_t>(args.head_size);
  return {length, width, round_up(length, kLanes), round_up(width, kLanes)};
}

struct Head {
  std::int64_t image, head;
};
std::int64_t place_of(const Strided& at, Head head, std::size_t row) {
  return at.offset + head.image * at.image + head.head * at.head + static_cast<std::int64_t>(row) * at.row;
}
template <class Stored>
const Stored* rows_of(const void* data, const Strided& at, Head head, std::size_t row) {
  return static_cast<const Stored*>(data) + place_of(at, head, row);
}
template <class Stored>
Stored* rows_of(void* data, const Strided& at, Head head, std::size_t row) {
  return static_cast<Stored*>(data) + place_of(at, head, row);
}

template <class Values>
const Unit* packed(const void* data, const Strided& at, Head head, std::size_t row, std::size_t rows, std::size_t width,
                   Scratch<Unit>& to) {
  Unit* const units = to.at_least(round_up(rows, kLanes) * cpu::padded_units<Values>(width));
  cpu::pack_rows<Values>(rows_of<typename Values::Stored>(data, at, head, row), at.row, rows, width, units);
  return units;
}

template <class Values>
const Unit* transposed(const Unit* rows, const Sizes& sizes, Scratch<Unit>& to) {
  const std::size_t units = cpu::padded_units<Values>(sizes.width);
  Unit* const made = to.at_least(units * sizes.keys);
  cpu::transpose_rows(rows, sizes.keys, units, made);
  return made;
}

// rows . b^T, both packed along the head: scores of queries against keys.
template <class Values>
float* scores(const Unit* rows, std::size_t count, const Unit* keys_transposed, const Sizes& sizes, Scratch<float>& to) {
  HeadProduct p;
  p.a = rows, p.a_row = cpu::padded_units<Values>(sizes.width);
  p.b = keys_transposed, p.b_unit = sizes.keys;
  p.c = to.at_least(count * sizes.keys), p.c_row = sizes.keys;
  p.rows = count, p.vectors = sizes.keys / kLanes, p.units = cpu::used_units<Values>(sizes.width);
  cpu::head_product<Values>(p);
  return p.c;
}

// [queries, keys] . [keys, head size]
template <class Values>
float* over_keys(const Unit* weights, std::size_t count, const Unit* key_pairs, const Sizes& sizes, Scratch<float>& to) {
  HeadProduct p;
  p.a = weights, p.a_row = sizes.keys / cpu::numbers_in_unit(Values{});
  p.b = key_pairs, p.b_unit = sizes.columns;
  p.c = to.at_least(count * sizes.columns), p.c_row = sizes.columns;
  p.rows = count, p.vectors = sizes.columns / kLanes, p.units = cpu::used_units<Values>(sizes.length);
  cpu::head_product<Values>(p);
  return p.c;
}

// sum += [queries, keys]^T . [queries, head size]
template <class Values>
void over_queries(const Unit* weight_pairs, std::size_t count, const Unit* query_pairs, const Sizes& sizes, float* sum, bool add) {
  HeadProduct p;
  p.a = weight_pairs, p.a_row = 1, p.a_unit = sizes.keys;
  p.b = query_pairs, p.b_unit = sizes.columns;
  p.c = sum, p.c_row = sizes.columns, p.add = add;
  p.rows = sizes.length, p.vectors = sizes.columns / kLanes, p.units = cpu::used_units<Values>(count);
  cpu::head_product<Values>(p);
}

// Sixteen numbers of a row, at element `i`, as an operand.
void store_operand(cpu::Bf16Values, Unit* row, std::size_t i, __m512 x) {
  _mm256_store_si256(reinterpret_cast<__m256i*>(row + i / 2), cpu::Bf16Values::narrowed(x));
}
void store_operand(cpu::Float32Values, Unit* row, std::size_t i, __m512 x) { _mm512_store_si512(row + i, _mm512_castps_si512(x)); }

// e^(scale * scores - maximum) of each row, and 1 / sum and lse. The order of the sum depends on the length alone.
template <class Values>
void soft_rows(const float* scores, std::size_t count, const Sizes& sizes, float scale, Unit* p, float* reciprocals, float* lse) {
  const __m512 factor = _mm512_set1_ps(scale), lowest = _mm512_set1_ps(-INFINITY);
  for (std::size_t r = 0; r < count; ++r, scores += sizes.keys, p += sizes.keys / cpu::numbers_in_unit(Values{})) {
    __m512 highest = lowest;
    for (std::size_t i = 0; i < sizes.length; i += kLanes) {
      const __mmask16 mask = cpu::lanes(i, sizes.length);
      highest = _mm512_mask_max_ps(highest, mask, highest, _mm512_mul_ps(_mm512_load_ps(scores + i), factor));
    }
    const float maximum = _mm512_reduce_max_ps(highest);
    const __m512 shift = _mm512_set1_ps(maximum);
    __m512 sums = _mm512_setzero_ps();
    for (std::size_t i = 0; i < sizes.keys; i += kLanes) {
      const __mmask16 mask = cpu::lanes(i, sizes.length);
      const __m512 e = _mm512_maskz_mov_ps(mask, cpu::exponential(_mm512_fmsub_ps(_mm512_load_ps(scores + i), factor, shift)));
      sums = _mm512_add_ps(sums, e);
      store_operand(Values{}, p, i, e);
    }
    const float sum = _mm512_reduce_add_ps(sums);
    reciprocals[r] = 1.0f / sum;
    if (lse != nullptr) lse[r] = maximum + std::log(sum);
  }
}

std::size_t lse_place(const Attention& args, Head head, std::size_t row) {
  return static_cast<std::size_t>(head.image * args.heads + head.head) * queries_of(args) + row;
}

template <class Values>
void forward_rows(const Attention& args, Head head, std::size_t first, std::size_t last, std::size_t block) {
  using Stored = typename Values::Stored;
  Workspace& work = workspace();
  const Sizes sizes = sizes_of(args);
  const Unit* const k = packed<Values>(args.k, args.k_at, head, 0, sizes.length, sizes.width, work.k_rows);
  const Unit* const k_transposed = transposed<Values>(k, sizes, work.k_transposed);
  const Unit* const v = packed<Values>(args.v, args.v_at, head, 0, sizes.length, sizes.width, work.v_rows);
  const Unit* const v_pairs = cpu::pair_rows(Values{}, v, sizes.length, sizes.width, work.v_pairs);
  Unit* const p = work.p.at_least(block * sizes.keys / cpu::numbers_in_unit(Values{}));
  float* const reciprocals = work.row_factors.at_least(block);
  for (std::size_t row = first; row < last; row += block) {
    const std::size_t count = std::min(block, last - row);
    const Unit* const q = packed<Values>(args.q, args.q_at, head, row, count, sizes.width, work.q_rows);
    const float* const s = scores<Values>(q, count, k_transposed, sizes, work.scores);
    float* const lse = args.lse == nullptr ? nullptr : args.lse + lse_place(args, head, row);
    soft_rows<Values>(s, count, sizes, args.scale, p, reciprocals, lse);
    const float* const out = over_keys<Values>(p, count, v_pairs, sizes, work.head);
    cpu::unpack_rows<Values>(out, count, sizes.width, reciprocals, 0, rows_of<Stored>(args.out, args.out_at, head, row), args.out_at.row);
  }
}

// Two rows of P and of dS, in the forms of operands: dS by rows, and both by pairs of rows.
struct GradientRows {
  Unit *p_pairs, *ds, *ds_pairs;
};
// bf16: sixteen numbers of two rows, the pairs side by side.
__m512i paired(__m512i two_rows) {
  static constexpr auto kOrder = [] {
    struct Order {
      alignas(64) std::uint16_t index[32];
    } order{};
    for (std::uint16_t i = 0; i < 32; ++i) order.index[i] = static_cast<std::uint16_t>(i / 2 + i % 2 * 16);
    return order;
  }();
  return _mm512_permutexvar_epi16(_mm512_load_si512(kOrder.index), two_rows);
}
void store_gradients(cpu::Bf16Values, const GradientRows& to, std::size_t keys, std::size_t i, const __m512 (&p)[2],
                     const __m512 (&ds)[2]) {
  const auto both_p = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(p[1], p[0]));
  const auto both_ds = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(ds[1], ds[0]));
  _mm512_store_si512(to.p_pairs + i, paired(both_p));
  _mm512_store_si512(to.ds_pairs + i, paired(both_ds));
  _mm256_store_si256(reinterpret_cast<__m256i*>(to.ds + i / 2), _mm512_castsi512_si256(both_ds));
  _mm256_store_si256(reinterpret_cast<__m256i*>(to.ds + keys / 2 + i / 2), _mm512_extracti64x4_epi64(both_ds, 1));
}
void store_gradients(cpu::Float32Values, const GradientRows& to, std::size_t keys, std::size_t i, const __m512 (&p)[2],
                     const __m512 (&ds)[2]) {
  for (std::size_t r = 0; r < 2; ++r) {
    _mm512_store_si512(to.p_pairs + r * keys + i, _mm512_castps_si512(p[r]));
    _mm512_store_si512(to.ds + r * keys + i, _mm512_castps_si512(ds[r]));
  }
}

// P = e^(scale * scores - lse) and dS = P (dP - delta), scale left to the results. `count` is rounded up to a pair: a row beyond it is
// zeros.
template <class Values>
void gradient_rows(const float* scores, const float* dp, std::size_t count, const Sizes& sizes, float scale, const float* lse,
                   const float* delta, GradientRows to) {
  const __m512 factor = _mm512_set1_ps(scale);
  for (std::size_t r = 0; r < count; r += 2) {
    for (std::size_t i = 0; i < sizes.keys; i += kLanes) {
      const __mmask16 mask = cpu::lanes(i, sizes.length);
      __m512 p[2], ds[2];
      for (std::size_t half = 0; half < 2; ++half) {
        if (r + half >= count) {
          p[half] = ds[half] = _mm512_setzero_ps();
          continue;
        }
        const std::size_t at = (r + half) * sizes.keys + i;
        p[half] = _mm512_maskz_mov_ps(
            mask, cpu::exponential(_mm512_fmsub_ps(_mm512_load_ps(scores + at), factor, _mm512_set1_ps(lse[r + half]))));
        ds[half] = _mm512_mul_ps(p[half], _mm512_sub_ps(_mm512_load_ps(dp + at), _mm512_set1_ps(delta[r + half])));
      }
      store_gradients(Values{}, to, sizes.keys, i, p, ds);
    }
    to.p_pairs += 2 / cpu::numbers_in_unit(Values{}) * sizes.keys;
    to.ds += 2 / cpu::numbers_in_unit(Values{}) * sizes.keys;
    to.ds_pairs += sizes.keys;
  }
}

// Sums of dout * out by rows.
template <class Values>
void row_products(const typename Values::Stored* a, const typename Values::Stored* b, std::int64_t stride, std::size_t rows,
                  std::size_t width, float* sums) {
  for (std::size_t r = 0; r < rows; ++r, a += stride, b += stride) {
    __m512 sum = _mm512_setzero_ps();
    for (std::size_t i = 0; i < width; i += kLanes) {
      const __mmask16 mask = cpu::lanes(i, width);
      sum = _mm512_fmadd_ps(Values::load(a + i, mask), Values::load(b + i, mask), sum);
    }
    sums[r] = _mm512_reduce_add_ps(sum);
  }
}

// A piece of the gradients of a head: of queries alone, of keys and values alone, or all at once.
struct BackwardPiece {
  std::size_t first_query, last_query, first_key, last_key;
  bool queries, keys;  // which gradients are wanted: of queries needs all keys, of keys and values all queries
};

template <class Values>
void backward_piece(const AttentionBackward& args, Head head, const BackwardPiece& piece, std::size_t block) {
  using Stored = typename Values::Stored;
  constexpr std::size_t kNumbers = cpu::numbers_in_unit(Values{});
  const Attention& at = args.forward;
  Workspace& work = workspace();
  Sizes sizes = sizes_of(at);
  sizes.length = piece.last_key - piece.first_key, sizes.keys = round_up(sizes.length, kLanes);
  const Unit* const k = packed<Values>(at.k, at.k_at, head, piece.first_key, sizes.length, sizes.width, work.k_rows);
  const Unit* const k_transposed = transposed<Values>(k, sizes, work.k_transposed);
  const Unit* const k_pairs = piece.queries ? cpu::pair_rows(Values{}, k, sizes.length, sizes.width, work.k_pairs) : nullptr;
  const Unit* const v = packed<Values>(at.v, at.v_at, head, piece.first_key, sizes.length, sizes.width, work.v_rows);
  const Unit* const v_transposed = transposed<Values>(v, sizes, work.v_transposed);
  float* const dk = work.dk.at_least(sizes.length * sizes.columns);
  float* const dv = work.dv.at_least(sizes.length * sizes.columns);
  GradientRows to{};
  to.p_pairs = work.p.at_least(block * sizes.keys / kNumbers);
  to.ds = work.ds.at_least(block * sizes.keys / kNumbers);
  to.ds_pairs = kNumbers == 1 ? to.ds : work.ds_pairs.at_least(block * sizes.keys / kNumbers);
  float* const delta = work.row_factors.at_least(block);
  for (std::size_t row = piece.first_query; row < piece.last_query; row += block) {
    const std::size_t count = std::min(block, piece.last_query - row);
    const Unit* const q = packed<Values>(at.q, at.q_at, head, row, count, sizes.width, work.q_rows);
    const Unit* const dout = packed<Values>(args.dout, at.out_at, head, row, count, sizes.width, work.dout_rows);
    const void* const out = at.out;
    row_products<Values>(rows_of<Stored>(args.dout, at.out_at, head, row), rows_of<Stored>(out, at.out_at, head, row), at.out_at.row, count,
                         sizes.width, delta);
    const float* const s = scores<Values>(q, count, k_transposed, sizes, work.scores);
    const float* const dp = scores<Values>(dout, count, v_transposed, sizes, work.dp);
    const float* const lse = at.lse + lse_place(at, head, row);
    gradient_rows<Values>(s, dp, count, sizes, at.scale, lse, delta, to);
    if (piece.queries) {
      const float* const dq = over_keys<Values>(to.ds, count, k_pairs, sizes, work.head);
      cpu::unpack_rows<Values>(dq, count, sizes.width, nullptr, at.scale, rows_of<Stored>(args.dq, at.q_at, head, row), at.q_at.row);
    }
    if (piece.keys) {
      const bool add = row != piece.first_query;
      over_queries<Values>(to.p_pairs, count, cpu::pair_rows(Values{}, dout, count, sizes.width, work.dout_pairs), sizes, dv, add);
      over_queries<Values>(to.ds_pairs, count, cpu::pair_rows(Values{}, q, count, sizes.width, work.q_pairs), sizes, dk, add);
    }
  }
  if (!piece.keys) return;
  const auto unpacked = [&](const float* from, void* gradient, const Strided& where, float scale) {
    auto* const to_rows = rows_of<Stored>(gradient, where, head, piece.first_key);
    cpu::unpack_rows<Values>(from, sizes.length, sizes.width, nullptr, scale, to_rows, where.row);
  };
  unpacked(dk, args.dk, at.k_at, at.scale);
  unpacked(dv, args.dv, at.v_at, 1);
}

// Piece i of 2 * parts, where heads are too few for the threads: seven products instead of five, but the same bits, for no sum is cut.
BackwardPiece piece_of(std::size_t i, std::size_t parts, std::size_t queries, std::size_t keys, std::size_t block) {
  const std::size_t part = i / 2;
  const auto cut = [&](std::size_t rows, std::size_t at, std::size_t unit) {
    const std::size_t units = (rows + unit - 1) / unit;
    return std::min(rows, units * at / parts * unit);
  };
  if (i % 2 == 0) return {0, queries, cut(keys, part, kLanes), cut(keys, part + 1, kLanes), false, true};
  return {cut(queries, part, block), cut(queries, part + 1, block), 0, keys, true, false};
}

[[noreturn]] void refuse(const std::string& what) { throw rt::Failure{rt::Failure::Kind::invalid, "attention: " + what}; }

void check(const Attention& args) {
  if (args.length < 1 || args.queries < 0) refuse("length " + std::to_string(args.length) + ", queries " + std::to_string(args.queries));
  if (args.head_size < 1 || args.head_size > kLargestHead) refuse("head size " + std::to_string(args.head_size) + ", at most 128");
  if (!std::isfinite(args.scale) || args.scale == 0) refuse("scale " + std::to_string(args.scale));
}

std::size_t heads_under_attack(const Attention& args) {
  const std::int32_t images = args.live == nullptr ? args.images : std::clamp(*args.live, 0, args.images);
  return static_cast<std::size_t>(images) * static_cast<std::size_t>(args.heads);
}

Head head_of(const Attention& args, std::size_t i) {
  return {static_cast<std::int64_t>(i) / args.heads, static_cast<std::int64_t>(i) % args.heads};
}

}  // namespace

void attention(const Attention& args, rt::Stream stream) {
  check(args);
  if (args.images <= 0 || args.heads <= 0) return;
  cpu::with_values(args.precision, "attention", [&](auto values) {
    using Values = decltype(values);
    cpu::submit(stream, [args] {
      const std::size_t heads = heads_under_attack(args);
      if (heads == 0) return;
      const std::size_t queries = queries_of(args), threads = ThreadPool::instance().threads();
      std::size_t block = block_rows(queries, static_cast<std::size_t>(args.length), sizeof(float) + sizeof(typename Values::Stored));
      // Each part packs keys and values again, about a tenth of the work of a head of 197 rows: parts only where heads are few.
      constexpr std::size_t kLeastRows = 48;
      const std::size_t most = std::max<std::size_t>(1, queries / kLeastRows);
      const std::size_t parts = std::clamp<std::size_t>((3 * threads + heads - 1) / heads, 1, most);
      block = std::min(block, round_up((queries + parts - 1) / parts, cpu::kTileRows));
      const std::size_t blocks = (queries + block - 1) / block;
      cpu::parallel(heads * parts, [&](std::size_t i) {
        const std::size_t part = i % parts, first = blocks * part / parts * block, last = blocks * (part + 1) / parts * block;
        forward_rows<Values>(args, head_of(args, i / parts), first, std::min(last, queries), block);
      });
    });
  });
}

void attention_backward(const AttentionBackward& args, rt::Stream stream) {
  check(args.forward);
  if (args.forward.lse == nullptr) refuse("the gradient needs lse of the forward pass");
  if (args.forward.images <= 0 || args.forward.heads <= 0) return;
  cpu::with_values(args.forward.precision, "attention", [&](auto values) {
    using Values = decltype(values);
    cpu::submit(stream, [args] {
      const std::size_t heads = heads_under_attack(args.forward);
      if (heads == 0) return;
      // Scores and dP in float32, P once and dS in two forms.
      const std::size_t queries = queries_of(args.forward), keys = static_cast<std::size_t>(args.forward.length);
      const std::size_t threads = ThreadPool::instance().threads();
      std::size_t block = block_rows(queries, keys, 2 * sizeof(float) + 3 * sizeof(typename Values::Stored));
      if (heads >= threads || keys < 4 * kLanes) {
        cpu::parallel(heads, [&](std::size_t i) {
          backward_piece<Values>(args, head_of(args.forward, i), {0, queries, 0, keys, true, true}, block);
        });
        return;
      }
      const std::size_t parts = std::min((2 * threads + heads - 1) / heads, (keys + kLanes - 1) / kLanes / 2);
      block = std::min(block, round_up((queries + parts - 1) / parts, cpu::kTileRows));
      cpu::parallel(heads * parts * 2, [&](std::size_t i) {
        const BackwardPiece piece = piece_of(i % (2 * parts), parts, queries, keys, block);
        if (piece.first_query < piece.last_query) backward_piece<Values>(args, head_of(args.forward, i / (2 * parts)), piece, block);
      });
    });
  });
}

}  // namespace signstep::kernels
