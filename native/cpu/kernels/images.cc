// Images into the layout of the model and back, the best iterates, and the rows of images that are still under attack.
#include "image_layout.h"

namespace signstep::kernels {

void import_images(const Images& to, float* x0, const float* planes, rt::Stream stream) {
  check_images(to, "import_images");
  cpu::submit(stream, [=] {
    each_image(to, [&](std::int64_t image) {
      const std::int64_t at = image * to.elements();
      from_planes(to, planes + at, x0 + at);
      std::copy(x0 + at, x0 + at + to.elements(), to.x + at);
      write_operand(to, image);
    });
  });
}

void export_images(const Images& like, const float* from, float* planes, rt::Stream stream) {
  check_images(like, "export_images");
  cpu::submit(stream, [=] {
    each_image(like, [&](std::int64_t image) { to_planes(like, from + image * like.elements(), planes + image * like.elements()); });
  });
}

void remember(const Images& images, const float* value, float* best_value, float* best, int direction, rt::Stream stream) {
  check_images(images, "remember");
  if (direction != 1 && direction != -1) refuse("remember", "direction: expected 1 or -1");
  cpu::submit(stream, [=] {
    each_image(images, [&](std::int64_t image) {
      // NaN is never better, and nothing is better than NaN.
      const bool better = direction > 0 ? value[image] > best_value[image] : value[image] < best_value[image];
      if (!better) return;
      const std::int64_t at = image * images.elements();
      std::copy(images.x + at, images.x + at + images.elements(), best + at);
      best_value[image] = value[image];
    });
  });
}

void finish_images(const Images& images, const std::uint8_t* fooled, const std::int32_t* order, float* finished, rt::Stream stream) {
  check_images(images, "finish_images");
  cpu::submit(stream, [=] {
    each_image(images, [&](std::int64_t image) {
      if (fooled[image] == 0) return;
      const float* const x = images.x + image * images.elements();
      std::copy(x, x + images.elements(), finished + order[image] * images.elements());
    });
  });
}

void surviving_rows(const std::uint8_t* fooled, std::int32_t* live, std::int32_t* rows, std::int32_t* left, rt::Stream stream) {
  cpu::submit(stream, [=] {
    std::int32_t found = 0;
    for (std::int32_t i = 0; i < *live; ++i)
      if (fooled[i] == 0) rows[found++] = i;
    *live = *left = found;
  });
}

void keep_rows(const KeptRows& kept, rt::Stream stream) {
  for (int i = 0; i < kept.size; ++i)
    if (kept.arrays[i].bytes <= 0 || kept.arrays[i].bytes % 2 != 0) refuse("keep_rows", "expected rows of an even number of bytes");
  cpu::submit(stream, [=] {
    for (int i = 0; i < kept.size; ++i) {
      const KeptRows::Array& array = kept.arrays[i];
      auto* const own = static_cast<std::byte*>(array.data);
      // Rows ascend: none is overwritten before it has been moved.
      for (std::int32_t row = 0; row < *kept.count; ++row)
        if (kept.rows[row] != row) std::copy_n(own + kept.rows[row] * array.bytes, array.bytes, own + row * array.bytes);
    }
  });
}

}  // namespace signstep::kernels
