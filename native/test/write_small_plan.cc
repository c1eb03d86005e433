// Writes the plan of the small program to the file it is given: what the C example attacks where there is no Node to compile a model.
#include <cstdio>

#include "plan_writer.h"
#include "small_program.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const test::SmallProgram small;
  const auto plan = test::write_plan(small.program, "small program");
  std::FILE* file = std::fopen(argv[1], "wb");
  if (file == nullptr) return 1;
  const bool whole = std::fwrite(plan.data(), 1, plan.size(), file) == plan.size();
  return std::fclose(file) == 0 && whole ? 0 : 1;
}
