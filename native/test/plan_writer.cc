#include "plan_writer.h"

#include <cstring>

#include "../core/program/crc32.h"
#include "../core/program/plan_layout.h"

namespace test {

using namespace signstep::program;

namespace {

class Writer {
 public:
  template <class T>
  void put(T value) {
    append(&value, sizeof value);
  }
  void append(const void* from, std::size_t size) {
    const auto* first = static_cast<const std::uint8_t*>(from);
    bytes.insert(bytes.end(), first, first + size);
  }
  std::vector<std::uint8_t> bytes;
};

void put_step(Writer& out, const Step& step) {
  out.put(static_cast<std::uint32_t>(step.op));
  out.append(step.buffers, sizeof step.buffers);
  out.put(std::uint32_t{0});
  out.append(step.ints, sizeof step.ints);
  out.append(step.floats, sizeof step.floats);
  out.append(step.name, sizeof step.name);
}

}  // namespace

void seal_plan(std::vector<std::uint8_t>& plan) {
  const std::uint32_t crc = crc32(plan.data() + kSizeAt, plan.size() - kSizeAt);
  std::memcpy(plan.data() + kCrcAt, &crc, sizeof crc);
}

std::vector<std::uint8_t> write_plan(const Program& program, const std::string& note) {
  const std::size_t tables =
      kBuffersAt + program.buffers.size() * kBufferBytes + (program.forward.size() + program.gradient.size()) * kStepBytes + note.size();
  const std::size_t data_at = (tables + kDataAlignment - 1) / kDataAlignment * kDataAlignment;
  const Header& header = program.header;
  Writer out;
  out.append(kMagic, sizeof kMagic);
  out.put(kPlanVersion);
  out.put(std::uint32_t{0});
  out.put(static_cast<std::uint64_t>(data_at + program.data_bytes));
  out.put(static_cast<std::uint32_t>(program.buffers.size()));
  out.put(static_cast<std::uint32_t>(program.forward.size()));
  out.put(static_cast<std::uint32_t>(program.gradient.size()));
  out.put(static_cast<std::uint32_t>(note.size()));
  out.put(static_cast<std::uint64_t>(data_at));
  out.put(static_cast<std::uint64_t>(program.data_bytes));
  for (const std::uint32_t field : {header.channels, header.height, header.width, header.classes, static_cast<std::uint32_t>(header.layout),
                                    header.patch, static_cast<std::uint32_t>(header.loss), header.targeted})
    out.put(field);
  for (const std::int32_t field : {header.input, header.logits, header.image_gradient}) out.put(field);
  out.put(std::uint32_t{0});
  for (const Buffer& buffer : program.buffers) {
    out.put(static_cast<std::uint32_t>(buffer.type));
    out.put(static_cast<std::uint32_t>(buffer.storage));
    out.put(buffer.elements);
    out.put(buffer.rows);
    out.put(buffer.columns);
    out.put(buffer.data);
  }
  for (const Step& step : program.forward) put_step(out, step);
  for (const Step& step : program.gradient) put_step(out, step);
  out.append(note.data(), note.size());
  out.bytes.resize(data_at);
  out.append(program.data, program.data_bytes);
  seal_plan(out.bytes);
  return out.bytes;
}

}  // namespace test
