// Products of two activations with any strides: rows of b that lie densely are added up as vectors, else columns are walked.
#include <vector>

#include "elements.h"

namespace signstep::kernels {
namespace {

template <class A, class B, class Out>
void multiply(const BatchedMatmul& args, const A* a, const B* b, Out* out) {
  const auto n = static_cast<std::size_t>(args.n);
  thread_local std::vector<float> row, sums;
  row.resize(n);
  sums.resize(n);
  for (std::int32_t i = 0; i < args.m; ++i) {
    std::fill(sums.begin(), sums.end(), 0.0f);
    for (std::int32_t k = 0; k < args.k; ++k) {
      const float weight = to_float(a[i * args.a_row + k * args.a_column]);
      const B* from = b + k * args.b_row;
      if (args.b_column == 1) {
        for (std::size_t j = 0; j < n; ++j) sums[j] += weight * to_float(from[j]);
      } else {
        for (std::size_t j = 0; j < n; ++j) sums[j] += weight * to_float(from[static_cast<std::int64_t>(j) * args.b_column]);
      }
    }
    Out* to = out + static_cast<std::int64_t>(i) * args.n;
    for (std::size_t j = 0; j < n; ++j) to[j] = from_float<Out>(args.alpha * sums[j]);
  }
}

void run(const BatchedMatmul& args) {
  const std::int64_t* batch = args.batch;
  cpu::parallel(static_cast<std::size_t>(batch[0] * batch[1] * batch[2]), [&](std::size_t index) {
    const auto at = static_cast<std::int64_t>(index);
    const std::int64_t places[3] = {at / (batch[1] * batch[2]), at / batch[2] % batch[1], at % batch[2]};
    std::int64_t left = 0, right = 0;
    for (int i = 0; i < 3; ++i) {
      left += places[i] * args.a_batch[i];
      right += places[i] * args.b_batch[i];
    }
    with_type(args.precision, args.a.type, [&]<class A>(Element<A>) {
      with_type(args.precision, args.b.type, [&]<class B>(Element<B>) {
        with_type(args.precision, args.out.type, [&]<class Out>(Element<Out>) {
          multiply(args, static_cast<const A*>(args.a.data) + left, static_cast<const B*>(args.b.data) + right,
                   static_cast<Out*>(args.out.data) + at * args.m * args.n);
        });
      });
    });
  });
}

}  // namespace

void batched_matmul(const BatchedMatmul& args, rt::Stream stream) {
  cpu::submit(stream, [args] { run(args); });
}

}  // namespace signstep::kernels
