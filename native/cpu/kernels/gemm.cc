// gemm() on the processor: rows of a are read where they lie.
#include <cstddef>
#include <cstdint>
#include <string>

#include "../launch.h"
#include "gemm_task.h"

namespace signstep::kernels {
namespace {

[[noreturn]] void refuse(const Gemm& g, const std::string& why) {
  const std::string shape = std::to_string(g.rows) + " x " + std::to_string(g.n) + " x " + std::to_string(g.k) + " (rows, n, k)";
  throw rt::Failure{rt::Failure::Kind::invalid, "gemm " + shape + ": " + why};
}

// What a folded LayerNorm asks for.
void check_rows(const Gemm& g) {
  const bool backward = g.epilogue == Epilogue::norm_backward, derives = !is_store(g.epilogue) && !is_activation(g.epilogue) && !backward;
  if (g.norm.statistics != nullptr && (g.a_map.group != 0 || g.out_map.group != 0)) refuse(g, "a folded LayerNorm has no row maps");
  if (g.norm.statistics != nullptr && derives) refuse(g, "a derivative is of no normalised rows");
  if (g.norm.statistics == nullptr && g.norm.column_sums != nullptr) refuse(g, "column sums without statistics");
  if (g.statistics != nullptr && g.epilogue != Epilogue::store) refuse(g, "only store leaves statistics");
  if (g.dots != nullptr && !derives && !backward) refuse(g, "only derivatives leave dots");
  if (!backward) return;
  if (g.norm.statistics == nullptr || g.aux == nullptr || g.dots == nullptr || g.dot_parts < 1) refuse(g, "norm_backward lacks an array");
  if (g.bias != nullptr || g.scale != nullptr || g.table != nullptr || g.norm.column_sums != nullptr)
    refuse(g, "norm_backward adds nothing but a residual");
}

void check(const Gemm& g) {
  if (g.precision == Precision::fp16) refuse(g, "the processor computes in bf16 and float32, not in fp16");
  if (g.rows < 0 || g.n < 1 || g.k < 1) refuse(g, "n and k must be at least 1");
  if (g.epilogue == Epilogue::step_linf) {
    if (g.live.rows_per_image <= 0) refuse(g, "step_linf needs live.rows_per_image");
    if (g.out_map.group != 0) refuse(g, "step_linf has no row map");
    const PatchStep& s = g.step;
    if (s.x == nullptr || s.x0 == nullptr || s.operand == nullptr || s.alpha == nullptr || s.eps == nullptr || s.nan_count == nullptr ||
        s.nonzero == nullptr)
      refuse(g, "step_linf lacks an array");
    return;
  }
  if (g.out == nullptr) refuse(g, "no output");
  check_rows(g);
  if (g.epilogue == Epilogue::norm_backward) return;
  if (g.table != nullptr && g.out_map.group == 0) refuse(g, "a table needs the group of the output's row map");
  if (is_store(g.epilogue)) return;
  if (g.epilogue == Epilogue::swiglu && g.n % 2 != 0) refuse(g, "swiglu takes pairs of columns");
  const bool relu = g.epilogue == Epilogue::relu || g.epilogue == Epilogue::relu_backward;
  if (g.table != nullptr || g.scale != nullptr || (g.residual != nullptr && !relu))
    refuse(g, "this epilogue has no scale, residual or table");
  if (!is_activation(g.epilogue) && g.aux == nullptr) refuse(g, "the derivative needs the pre-activation");
}

template <class T>
class MatrixLayout {
 public:
  explicit MatrixLayout(const Gemm& g) : g_(g), row_bytes_(static_cast<std::size_t>(g.k) * sizeof(T)) {}

  std::size_t bytes_from(std::size_t from) const { return std::min(kUnits * 4, row_bytes_ - from); }

  std::int64_t at(std::int64_t row) const { return row; }
  void advance(std::int64_t& row) const { ++row; }

  BlockOperand rows(Scratch& own, std::int64_t row, int count, std::size_t from, std::size_t bytes) const {
    const std::byte*(&a)[kBlockRows] = own.pieces[0];
    for (int r = 0; r < kBlockRows; ++r) {
      const std::int64_t at = mapped_row(g_.a_map, row + std::min(r, count - 1)) * g_.k;
      a[r] = reinterpret_cast<const std::byte*>(static_cast<const T*>(g_.a) + at) + from;
    }
    if (bytes % 4 != 0) pad_rows(a, bytes, own.rows);
    return {own.pieces, 1, (bytes + 3) / 4};
  }

  void places(std::int64_t row, int count, std::int64_t* out) const {
    for (int r = 0; r < count; ++r) out[r] = mapped_row(g_.out_map, row + r);
  }

 private:
  const Gemm& g_;
  const std::size_t row_bytes_;
};

template <class T>
void run(const Gemm& g) {
  run_tasks<T>(g, MatrixLayout<T>(g));
}

}  // namespace

void gemm(const Gemm& g, rt::Stream stream) {
  check(g);
  if (g.rows == 0) return;
  cpu::submit(stream, [g] { g.precision == Precision::float32 ? run<float>(g) : run<Bf16>(g); });
}

}  // namespace signstep::kernels
