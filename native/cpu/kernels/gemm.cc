// gemm() on the processor: rows of a are read where they lie.
#include <cstddef>
#include <cstdint>

#include "../../cuda/kernels/product_faults.h"
#include "../launch.h"
#include "gemm_task.h"

namespace signstep::kernels {
namespace {

void check(const Gemm& g) {
  if (g.precision == Precision::fp16) refuse(g, "the processor computes in bf16 and float32, not in fp16");
  refuse_faulty(g);
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
