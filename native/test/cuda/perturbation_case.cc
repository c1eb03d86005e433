#include "perturbation_case.h"

namespace perturbation_case {
namespace {

std::vector<float> with_front(const std::vector<float>& values, int offset) {
  std::vector<float> out(values.size() + static_cast<std::size_t>(offset), 0.0f);
  std::copy(values.begin(), values.end(), out.begin() + offset);
  return out;
}

std::vector<float> without_front(std::vector<float> values, int offset) {
  values.erase(values.begin(), values.begin() + offset);
  return values;
}

// Calls body(position in planes, position in the layout) for all elements of all images.
template <class Body>
void each_element(const Shape& shape, Body&& body) {
  const auto channels = static_cast<std::size_t>(shape.channels), height = static_cast<std::size_t>(shape.height);
  const auto width = static_cast<std::size_t>(shape.width), side = static_cast<std::size_t>(shape.patch);
  for (std::size_t image = 0; image < static_cast<std::size_t>(shape.images); ++image)
    for (std::size_t c = 0; c < channels; ++c)
      for (std::size_t h = 0; h < height; ++h)
        for (std::size_t w = 0; w < width; ++w) {
          const std::size_t planes = (c * height + h) * width + w;
          std::size_t layout = planes;
          if (side != 0) layout = (((h / side) * (width / side) + w / side) * channels + c) * side * side + h % side * side + w % side;
          body(image * shape.elements() + planes, image * shape.elements() + layout);
        }
}

}  // namespace

std::vector<float> in_layout(const std::vector<float>& planes, const Shape& shape) {
  std::vector<float> out(planes.size());
  each_element(shape, [&](std::size_t p, std::size_t l) { out[l] = planes[p]; });
  return out;
}

std::vector<float> in_planes(const std::vector<float>& layout, const Shape& shape) {
  std::vector<float> out(layout.size());
  each_element(shape, [&](std::size_t p, std::size_t l) { out[p] = layout[l]; });
  return out;
}

bool same(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (std::memcmp(&a[i], &b[i], sizeof(float)) != 0 && !(std::isnan(a[i]) && std::isnan(b[i]))) return false;
  return true;
}

DeviceImages::DeviceImages(const Shape& shape, Precision precision, const std::vector<float>* x0_planes, const std::vector<float>* x_planes,
                           int offset, std::int32_t live)
    : shape_(shape),
      offset_(offset),
      x_(with_front(x_planes != nullptr ? in_layout(*x_planes, shape) : std::vector<float>(shape.all(), __builtin_nanf("")), offset)),
      x0_(with_front(x0_planes != nullptr ? in_layout(*x0_planes, shape) : std::vector<float>(shape.all(), __builtin_nanf("")), offset)),
      operand_(shape.all(), precision),
      live_(std::vector<std::int32_t>{live}) {
  images_ = {.precision = precision,
             .x = x_.data() + offset,
             .x0 = x0_.data() + offset,
             .operand = operand_.data(),
             .images = shape.images,
             .channels = shape.channels,
             .height = shape.height,
             .width = shape.width,
             .patch = shape.patch,
             .live = live < 0 ? nullptr : live_.data()};
}

std::vector<float> DeviceImages::x() const { return in_planes(without_front(x_.host(), offset_), shape_); }
std::vector<float> DeviceImages::x0() const { return in_planes(without_front(x0_.host(), offset_), shape_); }

bool DeviceImages::operand_follows() const {
  const std::vector<float> x = without_front(x_.host(), offset_), operand = operand_.host();
  const std::size_t rows = images_.live == nullptr ? static_cast<std::size_t>(shape_.images) : static_cast<std::size_t>(live_.host()[0]);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float expected = i < rows * shape_.elements() ? device_case::rounded(x[i], images_.precision) : __builtin_nanf("");
    if (!same({operand[i]}, {expected})) return false;
  }
  return true;
}

DeviceFloats::DeviceFloats(const Shape& shape, const std::vector<float>& planes, int offset)
    : shape_(shape), offset_(offset), array_(with_front(in_layout(planes, shape), offset)) {}

std::vector<float> DeviceFloats::planes() const { return in_planes(without_front(array_.host(), offset_), shape_); }

}  // namespace perturbation_case
