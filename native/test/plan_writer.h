// Writes plan files for tests: what src/backend/engine writes for models.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../core/program/program.h"

namespace test {

// Constants lie in program.data. The checksum is right; `program` may be as wrong as the test wants.
std::vector<std::uint8_t> write_plan(const signstep::program::Program& program, const std::string& note = "test");
// Makes the checksum right again after bytes were changed.
void seal_plan(std::vector<std::uint8_t>& plan);

}  // namespace test
