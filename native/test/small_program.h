// A linear classifier of 2 x 4 x 4 pixels in patches of 2 with layer normalisation, as a kernel program: small enough to be read, with
// every kind of buffer. For tests of the plan file.
#pragma once

#include <cstring>
#include <vector>

#include "../core/program/program.h"

namespace test {

struct SmallProgram {
  signstep::program::Program program;
  std::vector<float> data;  // what program.data points to

  SmallProgram();
  SmallProgram(const SmallProgram&) = delete;
};

}  // namespace test
