// Copies between strided places, gathers, scatters, fills, and constants at load.
#include <algorithm>
#include <type_traits>

#include "elements.h"

namespace signstep::kernels {
namespace {

// Between operands of one type bits are moved, not numbers: `From` and `To` are then plain units of their width.
template <class From, class To>
void move(const Copy& args) {
  Axes axes{args.rank, {}};
  std::copy(args.dims, args.dims + 6, axes.dims);
  const From* in = static_cast<const From*>(args.in.data) + args.in_offset;
  To* out = static_cast<To*>(args.out.data) + args.out_offset;
  cpu::parallel_ranges(static_cast<std::size_t>(axes.count()), 4096, [&](std::size_t first, std::size_t last) {
    Places<2> places(axes, {args.in_strides, args.out_strides}, static_cast<std::int64_t>(first));
    for (auto left = static_cast<std::int64_t>(last - first); left > 0;) {
      const std::int64_t n = std::min(places.run(), left), from_step = places.stride(0), to_step = places.stride(1);
      const From* from = in + places.at[0];
      To* to = out + places.at[1];
      if constexpr (std::is_same_v<From, To>) {
        if (from_step == 1 && to_step == 1) {
          std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(To));
        } else {
          for (std::int64_t i = 0; i < n; ++i) to[i * to_step] = from[i * from_step];
        }
      } else {
        for (std::int64_t i = 0; i < n; ++i) to[i * to_step] = from_float<To>(to_float(from[i * from_step]));
      }
      places.advance(n);
      left -= n;
    }
  });
}

bool is_wide(Precision precision, program::ElementType type) {
  return type != program::ElementType::value || precision == Precision::float32;
}

}  // namespace

void copy(const Copy& args, rt::Stream stream) {
  const auto is_integer = [](const Operand& operand) { return operand.type == program::ElementType::int32; };
  if (args.rank < 0 || args.rank > 6) refuse("copy", "expected at most 6 axes");
  if (args.in.data == nullptr || args.out.data == nullptr) refuse("copy", "an operand is missing");
  if (is_integer(args.in) != is_integer(args.out)) refuse("copy", "int32 goes to int32 only");
  cpu::submit(stream, [args] {
    const bool wide = is_wide(args.precision, args.in.type);
    if (wide == is_wide(args.precision, args.out.type)) return wide ? move<std::uint32_t, std::uint32_t>(args) : move<std::uint16_t, std::uint16_t>(args);
    with_type(args.precision, program::ElementType::value, [&]<class T>(Element<T>) {
      if constexpr (!std::is_same_v<T, float>) wide ? move<float, T>(args) : move<T, float>(args);
    });
  });
}

namespace {

// Calls body(in, out) with both operands' data as what they hold.
template <class Body>
void with_operands(const Gather& args, const Body& body) {
  with_type(args.precision, args.in.type, [&]<class From>(Element<From>) {
    with_type(args.precision, args.out.type,
              [&]<class To>(Element<To>) { body(static_cast<const From*>(args.in.data), static_cast<To*>(args.out.data)); });
  });
}

template <class From, class To>
void copy_row(const From* from, To* to, std::int64_t count) {
  if constexpr (std::is_same_v<From, To>) {
    std::copy(from, from + count, to);
  } else {
    for (std::int64_t i = 0; i < count; ++i) to[i] = from_float<To>(to_float(from[i]));
  }
}

}  // namespace

// Places count from the end where they are negative; outside the axis there are zeros to read and nothing to write.
void gather(const Gather& args, rt::Stream stream) {
  cpu::submit(stream, [args] {
    with_operands(args, [&](const auto* in, auto* out) {
      cpu::parallel_ranges(static_cast<std::size_t>(args.outer * args.count), 8, [&](std::size_t first, std::size_t last) {
        for (auto at = static_cast<std::int64_t>(first); at < static_cast<std::int64_t>(last); ++at) {
          const std::int64_t given = args.indices[at % args.count], index = given < 0 ? given + args.axis : given;
          auto* to = out + at * args.inner;
          if (index < 0 || index >= args.axis)
            std::fill(to, to + args.inner, std::remove_reference_t<decltype(*to)>{});
          else
            copy_row(in + (at / args.count * args.axis + index) * args.inner, to, args.inner);
        }
      });
    });
  });
}

void scatter_add(const Gather& args, rt::Stream stream) {
  cpu::submit(stream, [args] {
    with_operands(args, [&](const auto* in, auto* out) {
      // Every result sums over the list in its order.
      cpu::parallel_ranges(static_cast<std::size_t>(args.outer * args.axis), 8, [&](std::size_t first, std::size_t last) {
        for (auto at = static_cast<std::int64_t>(first); at < static_cast<std::int64_t>(last); ++at) {
          const std::int64_t outer = at / args.axis, place = at % args.axis;
          for (std::int64_t e = 0; e < args.inner; ++e) {
            float sum = 0;
            for (std::int64_t i = 0; i < args.count; ++i) {
              const std::int64_t index = args.indices[i] < 0 ? args.indices[i] + args.axis : args.indices[i];
              if (index == place) sum += to_float(in[(outer * args.count + i) * args.inner + e]);
            }
            out[at * args.inner + e] = from_float<std::remove_reference_t<decltype(*out)>>(sum);
          }
        }
      });
    });
  });
}

void fill(Precision precision, Operand out, std::int64_t elements, float value, rt::Stream stream) {
  cpu::submit(stream, [=] {
    if (out.type == program::ElementType::int32) {
      auto* to = static_cast<std::int32_t*>(out.data);
      std::fill(to, to + elements, static_cast<std::int32_t>(value));
      return;
    }
    with_type(precision, out.type, [&]<class T>(Element<T>) {
      T* to = static_cast<T*>(out.data);
      cpu::parallel_ranges(static_cast<std::size_t>(elements), 1 << 14,
                           [&](std::size_t first, std::size_t last) { std::fill(to + first, to + last, from_float<T>(value)); });
    });
  });
}

void convert(Precision precision, const float* in, Operand out, std::int64_t rows, std::int64_t columns, bool transposed, rt::Stream stream) {
  cpu::submit(stream, [=] {
    with_type(precision, out.type, [&]<class T>(Element<T>) {
      T* to = static_cast<T*>(out.data);
      if (!transposed) {
        cpu::parallel_ranges(static_cast<std::size_t>(rows * columns), 1 << 14, [&](std::size_t first, std::size_t last) {
          for (std::size_t i = first; i < last; ++i) to[i] = from_float<T>(in[i]);
        });
        return;
      }
      // Columns in blocks, so that the rows that are read stay in cache.
      constexpr std::int64_t kBlock = 16;
      cpu::parallel(static_cast<std::size_t>((columns + kBlock - 1) / kBlock), [&](std::size_t block) {
        const std::int64_t begin = static_cast<std::int64_t>(block) * kBlock, end = std::min(columns, begin + kBlock);
        for (std::int64_t row = 0; row < rows; ++row)
          for (std::int64_t column = begin; column < end; ++column) to[column * rows + row] = from_float<T>(in[row * columns + column]);
      });
    });
  });
}

}  // namespace signstep::kernels
