// How an operation on a batch is cut up: into passes over runs of kRun elements, with a per-sample conclusion after each pass.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>

#include "../kernel_table.h"

namespace signstep {

struct Batch {
  std::size_t count;     // samples
  std::size_t elements;  // of each
  const std::int32_t* cancel;

  std::size_t runs() const { return (elements + kRun - 1) / kRun; }
};

// A run of one sample.
struct Run {
  std::size_t sample;
  std::size_t index;   // sample·runs() + place among the sample's runs: where its partial result belongs
  std::size_t first;   // element of the sample it begins at
  std::size_t offset;  // the same from the beginning of the batch
  std::size_t length;
};

struct Pass {
  std::function<void(const Run&)> each_run;
  // After all runs of a sample, before the next pass of that sample. May be empty.
  std::function<void(std::size_t sample)> conclude;
};

// Runs of a sample, and samples, are worked on in any order and in parallel; passes of a sample follow one another. Returns false if
// the cancel flag was seen.
bool run_passes(const Batch& batch, std::initializer_list<Pass> passes);

}  // namespace signstep
