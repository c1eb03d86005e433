// Reads a plan file. Nothing is believed before it is checked: first that the bytes are those that were written (size, checksum), then
// that what they say makes sense (types, indices, sizes), so that neither damage nor malice leads a kernel outside its buffers.
#include <bit>
#include <cmath>
#include <cstring>

#include "check_step.h"
#include "crc32.h"
#include "extent.h"
#include "operands.h"
#include "plan_layout.h"
#include "program.h"

namespace signstep::program {
namespace {

static_assert(std::endian::native == std::endian::little, "plan files are little-endian and read as they lie");

[[noreturn]] void refuse(const std::string& what, const std::string& expected, const std::string& found) {
  throw PlanError{"plan: " + what + ": expected " + expected + ", found " + found};
}

std::string text(std::uint64_t number) { return std::to_string(number); }

// Reads one field after the other. The caller has made sure that they lie within the file.
class Reader {
 public:
  explicit Reader(const std::uint8_t* at) : at_(at) {}

  template <class T>
  T next() {
    T value;
    std::memcpy(&value, at_, sizeof value);
    at_ += sizeof value;
    return value;
  }
  template <class T>
  void next(T* values, std::size_t count) {
    std::memcpy(values, at_, count * sizeof(T));
    at_ += count * sizeof(T);
  }

 private:
  const std::uint8_t* at_;
};

// `value` as an enumeration of which `count` values exist.
template <class Enum>
Enum choice(std::uint32_t value, std::uint32_t count, const std::string& what) {
  if (value >= count) refuse(what, "below " + text(count), text(value));
  return static_cast<Enum>(value);
}

struct Counts {
  std::uint64_t buffers, forward, gradient, note, data_at, data_bytes;
};

Counts check_envelope(const std::uint8_t* bytes, std::size_t size) {
  if (bytes == nullptr || size < sizeof kMagic || std::memcmp(bytes, kMagic, sizeof kMagic) != 0)
    refuse("magic", "the 8 bytes SIGNPLAN", size < sizeof kMagic ? text(size) + " bytes" : "others: no plan file");
  if (size < kBuffersAt) refuse("size", "at least " + text(kBuffersAt) + " bytes", text(size) + ": truncated");
  Reader fields(bytes + kVersionAt);
  const auto version = fields.next<std::uint32_t>(), crc = fields.next<std::uint32_t>();
  if (version != kPlanVersion) refuse("version", text(kPlanVersion), text(version) + ": compile the model again with this signstep");
  const auto stated = fields.next<std::uint64_t>();
  if (stated != size) refuse("size", text(stated) + " bytes", text(size) + (size < stated ? ": truncated" : ""));
  const std::uint32_t found = crc32(bytes + kSizeAt, size - kSizeAt);
  if (found != crc) refuse("CRC-32", text(crc), text(found) + ": the file is damaged");

  Counts counts{};
  counts.buffers = fields.next<std::uint32_t>();
  counts.forward = fields.next<std::uint32_t>();
  counts.gradient = fields.next<std::uint32_t>();
  counts.note = fields.next<std::uint32_t>();
  counts.data_at = fields.next<std::uint64_t>();
  counts.data_bytes = fields.next<std::uint64_t>();
  // 32-bit counts times a few hundred bytes: no overflow in 64 bits.
  const std::uint64_t tables = kBuffersAt + counts.buffers * kBufferBytes + (counts.forward + counts.gradient) * kStepBytes + counts.note;
  if (tables > size) refuse("tables", "at most the file's " + text(size) + " bytes", text(tables));
  if (counts.data_at % kDataAlignment != 0 || counts.data_at < tables || counts.data_at > size)
    refuse("data section", "a multiple of 64 from " + text(tables) + " to " + text(size), text(counts.data_at));
  if (counts.data_bytes != size - counts.data_at)
    refuse("data section", text(size - counts.data_at) + " bytes, to the end of the file", text(counts.data_bytes));
  return counts;
}

Header read_header(const std::uint8_t* bytes) {
  Reader fields(bytes + kHeaderAt);
  Header header{};
  header.channels = fields.next<std::uint32_t>();
  header.height = fields.next<std::uint32_t>();
  header.width = fields.next<std::uint32_t>();
  header.classes = fields.next<std::uint32_t>();
  header.layout = choice<ImageLayout>(fields.next<std::uint32_t>(), 2, "image layout");
  header.patch = fields.next<std::uint32_t>();
  header.loss = choice<Loss>(fields.next<std::uint32_t>(), 4, "loss");
  header.targeted = choice<std::uint32_t>(fields.next<std::uint32_t>(), 2, "targeted");
  if (header.loss == Loss::kl && header.targeted != 0) refuse("targeted", "0: KL has no targeted form", "1");
  header.input = fields.next<std::int32_t>();
  header.logits = fields.next<std::int32_t>();
  header.image_gradient = fields.next<std::int32_t>();

  constexpr std::uint32_t kMostSide = 1u << 16, kMostClasses = 1u << 24;
  const auto within = [](std::uint32_t value, std::uint32_t low, std::uint32_t high, const char* what) {
    if (value < low || value > high) refuse(what, text(low) + " to " + text(high), text(value));
  };
  within(header.channels, 1, 1u << 12, "channels");
  within(header.height, 1, kMostSide, "height");
  within(header.width, 1, kMostSide, "width");
  // The margin needs a runner-up, DLR the third logit, targeted DLR the fourth.
  const std::uint32_t least = header.loss == Loss::dlr ? (header.targeted != 0 ? 4u : 3u) : header.loss == Loss::margin ? 2u : 1u;
  within(header.classes, least, kMostClasses, "classes");
  if (header.layout == ImageLayout::planes) {
    if (header.patch != 0) refuse("patch", "0 for planes", text(header.patch));
  } else if (header.patch == 0 || header.height % header.patch != 0 || header.width % header.patch != 0) {
    refuse("patch", "a divisor of " + text(header.height) + " and " + text(header.width), text(header.patch));
  }
  return header;
}

// The three buffers of the header: what lies in them and how much.
void check_ends(const Program& program) {
  const Header& header = program.header;
  const auto pixels = static_cast<std::int64_t>(header.channels) * header.height * header.width;
  const auto end = [&](std::int32_t index, const char* what, ElementType type, std::int64_t elements) {
    if (index < 0 || static_cast<std::size_t>(index) >= program.buffers.size())
      refuse(what, "a buffer below " + text(program.buffers.size()), std::to_string(index));
    const Buffer& buffer = program.buffers[static_cast<std::size_t>(index)];
    if (buffer.storage != Storage::activation) refuse(what, "an activation", "a constant");
    if (buffer.type != type) refuse(what, type == ElementType::value ? "elements of the value type" : "float32 elements", "another type");
    if (buffer.elements != -elements) refuse(what, std::to_string(elements) + " elements an image", std::to_string(-buffer.elements));
  };
  end(header.input, "input", ElementType::value, pixels);
  end(header.logits, "logits", ElementType::float32, header.classes);
  end(header.image_gradient, "image gradient", ElementType::float32, pixels);
  if (header.logits == header.image_gradient) refuse("logits", "another buffer than the image gradient", "the same");
}

std::int64_t times_within(const std::string& name, std::int64_t a, std::int64_t b) {
  try {
    return times(bounded(a), bounded(b));
  } catch (const PlanError& error) {
    throw PlanError{"plan: " + name + ": " + error.message};
  }
}

Buffer read_buffer(Reader& fields, const Counts& counts, const std::uint8_t* data, std::size_t index) {
  const std::string name = "buffer " + text(index);
  Buffer buffer{};
  buffer.type = choice<ElementType>(fields.next<std::uint32_t>(), 3, name + " type");
  buffer.storage = choice<Storage>(fields.next<std::uint32_t>(), 4, name + " storage");
  buffer.elements = fields.next<std::int64_t>();
  buffer.rows = fields.next<std::int64_t>();
  buffer.columns = fields.next<std::int64_t>();
  buffer.data = fields.next<std::uint64_t>();
  try {
    bounded(buffer.elements);
  } catch (const PlanError& error) {
    throw PlanError{"plan: " + name + ": " + error.message};
  }
  if (buffer.elements == 0) refuse(name + " elements", "some", "0");
  if (buffer.storage == Storage::activation) return buffer;

  if (buffer.elements < 0) refuse(name + " elements", "of a constant: the same at every batch size", std::to_string(buffer.elements));
  if (buffer.storage == Storage::transposed) {
    // Divided, not multiplied: the product might overflow.
    if (buffer.rows < 1 || buffer.columns < 1 || buffer.elements % buffer.rows != 0 || buffer.elements / buffer.rows != buffer.columns)
      refuse(name, "rows x columns = " + std::to_string(buffer.elements), std::to_string(buffer.rows) + " x " + std::to_string(buffer.columns));
    if (buffer.type == ElementType::int32) refuse(name, "no transposed integers", "int32");
  }
  if (buffer.storage == Storage::row_sums) {
    if (buffer.rows != buffer.elements || buffer.columns < 1)
      refuse(name, "as many sums as rows", std::to_string(buffer.elements) + " of " + std::to_string(buffer.rows) + " x " + std::to_string(buffer.columns));
    if (buffer.type != ElementType::float32) refuse(name, "row sums in float32", "another type");
  }
  const std::int64_t held = buffer.storage == Storage::row_sums ? times_within(name, buffer.rows, buffer.columns) : buffer.elements;
  const std::uint64_t size = 4 * static_cast<std::uint64_t>(held);
  if (buffer.data % 4 != 0 || buffer.data > counts.data_bytes || size > counts.data_bytes - buffer.data)
    refuse(name + " data", text(size) + " bytes within the " + text(counts.data_bytes) + " of the data section", "them at " + text(buffer.data));
  if (buffer.type == ElementType::int32) return buffer;
  for (std::int64_t i = 0; i < held; ++i) {
    float value;
    std::memcpy(&value, data + buffer.data + 4 * static_cast<std::uint64_t>(i), 4);
    if (std::isnan(value)) refuse(name, "numbers", "NaN at element " + std::to_string(i));
  }
  return buffer;
}

Step read_step(Reader& fields) {
  Step step{};
  step.op = static_cast<Op>(fields.next<std::uint32_t>());
  fields.next(step.buffers, kBuffers);
  fields.next<std::uint32_t>();
  fields.next(step.ints, kInts);
  fields.next(step.floats, kFloats);
  fields.next(step.name, kNameBytes);
  return step;
}

bool writes(const Step& step, std::int32_t buffer) {
  for (const StepOperand& operand : operands(step))
    if (operand.access == Access::write && step.buffers[operand.slot] == buffer) return true;
  return false;
}

void check_results(const Program& program) {
  const Header& header = program.header;
  const auto produced = [](const std::vector<Step>& steps, std::int32_t buffer) {
    for (const Step& step : steps)
      if (writes(step, buffer)) return true;
    return false;
  };
  const auto losses = [](const std::vector<Step>& steps) {
    std::size_t count = 0;
    for (const Step& step : steps) count += step.op == Op::loss ? 1 : 0;
    return count;
  };
  if (!produced(program.forward, header.logits)) refuse("forward steps", "one that writes the logits", "none");
  if (losses(program.forward) != 0) refuse("forward steps", "no loss", text(losses(program.forward)));
  if (losses(program.gradient) != 1) refuse("gradient steps", "one loss", text(losses(program.gradient)));
  if (!produced(program.gradient, header.logits)) refuse("gradient steps", "one that writes the logits", "none");
  if (!writes(program.gradient.back(), header.image_gradient)) refuse("gradient steps", "the last to write the image gradient", "another");
}

}  // namespace

Program parse_plan(const void* plan, std::size_t size) {
  const auto* bytes = static_cast<const std::uint8_t*>(plan);
  const Counts counts = check_envelope(bytes, size);
  Program program;
  program.data = bytes + counts.data_at;
  program.data_bytes = counts.data_bytes;
  program.header = read_header(bytes);
  Reader fields(bytes + kBuffersAt);
  program.buffers.reserve(counts.buffers);
  for (std::size_t i = 0; i < counts.buffers; ++i) program.buffers.push_back(read_buffer(fields, counts, program.data, i));
  check_ends(program);
  program.forward.reserve(counts.forward);
  for (std::size_t i = 0; i < counts.forward; ++i) program.forward.push_back(read_step(fields));
  program.gradient.reserve(counts.gradient);
  for (std::size_t i = 0; i < counts.gradient; ++i) program.gradient.push_back(read_step(fields));
  // A size is a number or a multiple of the batch: what fits at 1 and at 2 fits at every batch size as long as no product of two such
  // sizes is among them. plan_memory checks again at the size that is loaded.
  try {
    for (const std::int64_t batch : {1, 2}) {
      check_steps(program, program.forward, batch, "forward");
      check_steps(program, program.gradient, batch, "gradient");
    }
  } catch (const PlanError& error) {
    throw PlanError{"plan: " + error.message};
  }
  check_results(program);
  return program;
}

}  // namespace signstep::program
