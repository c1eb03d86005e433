// row_statistics(): of rows that no product has made.
#include "../launch.h"
#include "statistics.h"

namespace signstep::kernels {

void row_statistics(const RowStatistics& args, rt::Stream stream) {
  if (args.rows <= 0 || args.columns <= 0) return;
  cpu::with_values(args.precision, "row_statistics", [&](auto values) {
    using Values = decltype(values);
    cpu::submit(stream, [args] {
      std::int64_t rows = args.rows;
      if (args.live.count != nullptr && args.live.rows_per_image > 0)
        rows = std::min(rows, std::int64_t{std::max(0, *args.live.count)} * args.live.rows_per_image);
      const std::int64_t columns = args.columns, parts = statistics_parts(args.columns);
      constexpr std::size_t kLeastElements = 16384;  // as many are worth another thread
      const std::size_t least = std::max<std::size_t>(1, kLeastElements / static_cast<std::size_t>(columns));
      cpu::parallel_ranges(static_cast<std::size_t>(rows), least, [&](std::size_t first, std::size_t last) {
        for (auto row = static_cast<std::int64_t>(first); row < static_cast<std::int64_t>(last); ++row)
          for (std::int64_t part = 0; part < parts; ++part) {
            const std::int64_t column = part * kStatisticsColumns;
            cpu::write_statistics<Values>(static_cast<const typename Values::Stored*>(args.x) + row * columns + column,
                                          static_cast<std::size_t>(std::min<std::int64_t>(kStatisticsColumns, columns - column)), args.rms,
                                          args.statistics + 2 * (row * parts + part));
          }
      });
    });
  });
}

}  // namespace signstep::kernels
