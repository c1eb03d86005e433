// What the tests of starts and steps share: batches in planes order for the CPU core, the same in the layout of the device, and the comparison
// of bits.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "device_case.h"
#include "signstep/signstep.h"

namespace perturbation_case {

using device_case::Array;
using device_case::Values;
using signstep::kernels::Images;
using signstep::kernels::Precision;

inline const signstep_api& cpu() { return *signstep_get_api(SIGNSTEP_ABI_VERSION); }

struct Shape {
  std::int32_t images, channels, height, width, patch;
  std::size_t elements() const { return static_cast<std::size_t>(channels) * static_cast<std::size_t>(height) * static_cast<std::size_t>(width); }
  std::size_t all() const { return static_cast<std::size_t>(images) * elements(); }
};

// Planes and patches whose sides allow four, two and single elements at once; one run of a sum, several, and ends inside of one.
inline constexpr Shape kShapes[] = {
    {3, 1, 1, 1, 0},  {3, 1, 5, 7, 0},    {2, 3, 8, 8, 0},     {2, 3, 16, 24, 8},  {2, 3, 12, 18, 6},
    {2, 2, 15, 9, 3}, {2, 3, 80, 80, 16}, {1, 3, 84, 84, 14}, {1, 1, 129, 131, 0}, {1, 3, 75, 80, 5},
};

// Planes order to layout and back, written down as the definition has it.
std::vector<float> in_layout(const std::vector<float>& planes, const Shape& shape);
std::vector<float> in_planes(const std::vector<float>& layout, const Shape& shape);

// Equal bits, or both NaN: payloads differ between processors.
bool same(const std::vector<float>& a, const std::vector<float>& b);

// An image batch on the device; x and operand are poisoned unless given. `offset` floats after an aligned address.
class DeviceImages {
 public:
  DeviceImages(const Shape& shape, Precision precision, const std::vector<float>* x0_planes, const std::vector<float>* x_planes, int offset = 0,
               std::int32_t live = -1);
  const Images& images() const { return images_; }
  std::vector<float> x() const;  // planes
  std::vector<float> x0() const;
  // True if the operand holds what the precision makes of x in the rows under attack, and is untouched in the others.
  bool operand_follows() const;
  std::size_t offset() const { return static_cast<std::size_t>(offset_); }

 private:
  Shape shape_;
  int offset_;
  Array<float> x_, x0_;
  Values operand_;
  Array<std::int32_t> live_;
  Images images_;
};

// A float array on the device in the layout, `offset` floats after an aligned address.
class DeviceFloats {
 public:
  DeviceFloats(const Shape& shape, const std::vector<float>& planes, int offset = 0);
  float* data() const { return array_.data() + offset_; }
  std::vector<float> planes() const;

 private:
  Shape shape_;
  int offset_;
  Array<float> array_;
};

}  // namespace perturbation_case
