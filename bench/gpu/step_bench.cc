// Times every kernel launch of a gradient program on its own: one JSON line a step with what it must move and compute.
//
//   step_bench_cuda|step_bench_sim <plan> <batch> bf16|fp16|float32|fp8 <seed> <rounds>      seed 0: the plan's own weights
//
// Between two launches the caches are overwritten, as the passes of a large batch would. The median of the rounds is printed, events
// around the launch; the last line is the whole pass, launched in one go.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>

#include "../../native/core/program/operands.h"
#include "../../native/cuda/engine/device_memory.h"
#include "../../native/cuda/engine/loaded_program.h"
#include "../../native/cuda/engine/run_step.h"
#include "plan_file.h"
#include "plan_weights.h"

namespace {

using namespace signstep;
using program::Op;
using program::Step;

struct Work {
  double flops = 0, bytes = 0;
};

// What the step computes and the least it can move: every operand once.
Work work_of(const program::Program& program, const Step& step, std::int64_t batch, std::size_t value_bytes) {
  const auto dim = [&](int i) { return static_cast<double>(program::resolve(step.ints[i], batch)); };
  const auto width = [&](int slot) {
    const std::int32_t index = step.buffers[slot];
    if (index == program::kNone) return 0.0;
    return program.buffers[static_cast<std::size_t>(index)].type == program::ElementType::value ? static_cast<double>(value_bytes) : 4.0;
  };
  Work work;
  if (step.op == Op::gemm) {
    const double rows = dim(0), n = dim(1), k = dim(2);
    work.flops = 2 * rows * n * k;
    work.bytes = rows * k * width(0) + n * k * width(1) + rows * n * (width(2) + width(5) + width(6));
  } else if (step.op == Op::attention || step.op == Op::attention_backward) {
    const double images = dim(0), heads = dim(1), length = dim(2), head = dim(3);
    const bool backward = step.op == Op::attention_backward;
    // Forward q·kᵀ and p·v; backward the scores again, dp, dv, dq and dk.
    work.flops = (backward ? 10 : 4) * images * heads * length * length * head;
    work.bytes = (backward ? 8 : 4) * images * heads * length * head * static_cast<double>(value_bytes) + images * heads * length * 4;
  } else {
    if (step.op == Op::batched_matmul) work.flops = 2 * dim(0) * dim(1) * dim(2) * dim(3) * dim(4) * dim(5);
    std::set<std::int32_t> seen;
    for (int slot = 0; slot < program::kBuffers; ++slot) {
      const std::int32_t index = step.buffers[slot];
      if (index == program::kNone || !seen.insert(index).second) continue;
      const program::Buffer& buffer = program.buffers[static_cast<std::size_t>(index)];
      work.bytes += static_cast<double>(program::resolve(buffer.elements, batch)) * width(slot);
    }
  }
  return work;
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

kernels::Precision precision_of(const std::string& name) {
  if (name == "bf16" || name == "fp8") return kernels::Precision::bf16;
  if (name == "fp16") return kernels::Precision::fp16;
  if (name == "float32") return kernels::Precision::float32;
  bench::stop("precision: expected bf16, fp16, float32 or fp8, found " + name);
}

// The stand-alone kernels of starts and steps, for graphs whose last operation is no patch embedding, beside a copy.
void perturbation(engine::LoadedProgram& loaded, const float* x0, const auto& timed) {
  const auto images = static_cast<std::size_t>(loaded.batch());
  const std::int64_t elements = loaded.elements();
  const std::size_t all = images * static_cast<std::size_t>(elements);
  const program::Header& header = loaded.header();
  const rt::Stream stream = loaded.stream();
  engine::DeviceArray<float> x(all), gradient(all), alpha(images), eps(images);
  engine::DeviceArray<std::int32_t> nan_count(images), nonzero(images), indices(images);
  engine::DeviceArray<std::uint64_t> seed(1);
  engine::DeviceArray<std::uint32_t> restart(1);
  rt::copy(x.data(), x0, x.bytes(), stream);
  rt::copy(gradient.data(), x0, gradient.bytes(), stream);
  for (auto* array : {&alpha, &eps}) rt::fill(array->data(), 0x3C, array->bytes(), stream);  // 0.0115
  rt::fill(indices.data(), 0, indices.bytes(), stream);
  rt::fill(seed.data(), 1, seed.bytes(), stream);
  rt::fill(restart.data(), 0, restart.bytes(), stream);

  kernels::Images state;
  state.precision = loaded.precision();
  state.x = x.data();
  state.x0 = x0;
  state.images = static_cast<std::int32_t>(loaded.batch());
  state.channels = static_cast<std::int32_t>(header.channels);
  state.height = static_cast<std::int32_t>(header.height);
  state.width = static_cast<std::int32_t>(header.width);
  state.patch = static_cast<std::int32_t>(header.patch);
  kernels::StepRule rule;
  rule.gradient = gradient.data();
  rule.alpha = alpha.data();
  rule.eps = eps.data();
  rule.nan_count = nan_count.data();
  rule.nonzero = nonzero.data();
  kernels::StartRule start;
  start.kind = kernels::StartRule::Kind::uniform;
  start.eps = eps.data();
  start.seed = seed.data();
  start.sample_indices = indices.data();
  start.restart = restart.data();
  const auto print = [&](const char* name, int arrays, double ms) {
    std::printf("{\"op\": \"perturbation\", \"name\": \"%s\", \"ms\": %.6f, \"bytes\": %.0f}\n", name, ms,
                4.0 * arrays * static_cast<double>(all));
  };
  print("copy", 2, timed([&] { rt::copy(x.data(), x0, x.bytes(), stream); }));
  print("start_uniform", 2, timed([&] { kernels::start(state, start, stream); }));
  print("step_linf", 4, timed([&] { kernels::step(state, rule, stream); }));
}

void measure(std::vector<std::uint8_t>& plan, std::int64_t batch, kernels::Precision precision, bool e4m3, int rounds) {
  engine::LoadedProgram loaded(0, batch, precision, e4m3, plan.data(), plan.size());
  engine::Instance& gradient = loaded.gradient();
  const rt::Stream stream = loaded.stream();
  const auto images = static_cast<std::size_t>(batch);

  std::vector<float> pixels(images * static_cast<std::size_t>(loaded.elements()));
  bench::Normal normal(7);
  for (float& pixel : pixels) pixel = std::fmin(std::fmax(0.5f + 0.25f * normal.next(), 0.0f), 1.0f);
  engine::DeviceArray<float> on_device(pixels.size()), loss(images);
  engine::DeviceArray<std::int32_t> labels(images), predictions(images);
  rt::upload(on_device.data(), pixels.data(), on_device.bytes(), stream);
  rt::fill(labels.data(), 0, labels.bytes(), stream);
  kernels::convert(precision, on_device.data(), {gradient.input(), program::ElementType::value}, 1,
                   static_cast<std::int64_t>(pixels.size()), false, stream);

  engine::Pass pass = gradient.pass(nullptr);
  pass.loss.labels = labels.data();
  pass.loss.value = loss.data();
  pass.loss.predictions = predictions.data();

#ifdef SIGNSTEP_SIM
  constexpr std::size_t kFlush = 1 << 16;
#else
  constexpr std::size_t kFlush = std::size_t{256} << 20;  // five times the L2 cache of an H100
#endif
  engine::DeviceArray<std::byte> flush(kFlush);
  engine::OwnedEvent before, after;
  const auto timed = [&](auto&& body) {
    std::vector<double> samples;
    for (int round = 0; round < rounds; ++round) {
      rt::fill(flush.data(), round & 0xFF, kFlush, stream);
      rt::record(before.get(), stream);
      body();
      rt::record(after.get(), stream);
      rt::synchronize(stream);
      samples.push_back(static_cast<double>(rt::milliseconds(before.get(), after.get())));
    }
    return median(samples);
  };
  const std::vector<Step>& steps = gradient.steps();
  const auto whole = [&] {
    for (std::size_t i = 0; i < steps.size(); ++i) engine::run_step(pass, steps[i], i, stream);
  };
  whole();
  rt::synchronize(stream);

  for (std::size_t i = 0; i < steps.size(); ++i) {
    const Step& step = steps[i];
    const double ms = timed([&] { engine::run_step(pass, step, i, stream); });
    const Work work = work_of(loaded.program(), step, batch, kernels::bytes_of(precision));
    std::string shape;
    const int dims = step.op == Op::gemm ? 3 : step.op == Op::attention || step.op == Op::attention_backward ? 4 : 2;
    for (int d = 0; d < dims; ++d) shape.append(d == 0 ? "" : "x").append(std::to_string(program::resolve(step.ints[d], batch)));
    if (step.op == Op::gemm) shape.append(" epilogue ").append(std::to_string(step.ints[3]));
    std::printf("{\"index\": %zu, \"op\": \"%s\", \"shape\": \"%s\", \"name\": \"%.*s\", ", i, signstep::program::op_name(step.op), shape.c_str(),
                program::kNameBytes, step.name);
    std::printf("\"ms\": %.6f, \"flops\": %.0f, \"bytes\": %.0f}\n", ms, work.flops, work.bytes);
  }
  std::printf("{\"op\": \"whole pass\", \"ms\": %.6f}\n", timed(whole));
  perturbation(loaded, on_device.data(), timed);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) bench::stop("usage: step_bench <plan> <batch> bf16|fp16|float32|fp8 <seed> <rounds>");
  try {
    if (rt::device_count() == 0) bench::stop("no device: " + rt::why());
    std::vector<std::uint8_t> plan = bench::read_file(argv[1]);
    const std::uint64_t seed = std::stoull(argv[4]);
    if (seed != 0) bench::randomise_weights(plan, seed);
    measure(plan, std::stoll(argv[2]), precision_of(argv[3]), argv[3] == std::string("fp8"), std::max(1, std::stoi(argv[5])));
  } catch (const rt::Failure& failure) {
    bench::stop(failure.message);
  } catch (const program::PlanError& error) {
    bench::stop(std::string(argv[1]) + ": " + error.message);
  }
  return 0;
}
