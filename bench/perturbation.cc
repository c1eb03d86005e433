// How near the perturbation kernels come to the speed of memory: bytes a kernel has to move per second, against a copy (memcpy) of the
// same arrays by the same number of threads, measured in turns in the same run.
//
//   cmake -S . -B build/cmake -DSIGNSTEP_BENCH=ON && cmake --build build/cmake --config Release
//   build/cmake/bin/perturbation [--json] [--rounds 31] [--sets 16] [--batch 8] [--elements 150528] [--threads 1,2] [--instruction-set avx2]
//
// Sixteen sets of arrays of 8×3×224×224 are gone through in turn, so that everything comes from memory. "Bytes" are those no
// implementation can avoid: each input read once, each output written once; what a kernel of several passes reads again counts as
// nothing. Medians over the rounds. "copy" is memcpy; "copy_streaming" goes past the cache, which saves reading what is overwritten.
#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "signstep/signstep.h"

namespace {

struct Options {
  bool json = false;
  std::size_t rounds = 31, sets = 16, batch = 8, elements = 3 * 224 * 224;
  std::vector<std::uint32_t> threads = {1, 2};
  std::string instruction_set;
};

[[noreturn]] void usage(const std::string& fault) {
  std::fprintf(stderr,
               "perturbation: %s\nusage: perturbation [--json] [--rounds N] [--sets N] [--batch N] [--elements N] [--threads N,N] "
               "[--instruction-set NAME]\n",
               fault.c_str());
  std::exit(2);
}

std::size_t positive(const std::string& text) {
  char* end = nullptr;
  const unsigned long long value = std::strtoull(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || value == 0) usage("expected a positive integer, found '" + text + "'");
  return value;
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--json") {
      options.json = true;
      continue;
    }
    if (i + 1 == argc) usage("'" + name + "' is unknown or lacks its value");
    const std::string value = argv[++i];
    if (name == "--rounds") options.rounds = positive(value);
    else if (name == "--sets") options.sets = positive(value);
    else if (name == "--batch") options.batch = positive(value);
    else if (name == "--elements") options.elements = positive(value);
    else if (name == "--instruction-set") options.instruction_set = value;
    else if (name == "--threads") {
      options.threads.clear();
      for (std::size_t at = 0; at <= value.size();) {
        const std::size_t comma = std::min(value.find(',', at), value.size());
        options.threads.push_back(static_cast<std::uint32_t>(positive(value.substr(at, comma - at))));
        at = comma + 1;
      }
    } else usage("unknown option '" + name + "'");
  }
  return options;
}

// Page-aligned, as large buffers from any allocator are in effect.
struct Array {
  explicit Array(std::size_t n) : data(static_cast<float*>(::operator new(n * sizeof(float), std::align_val_t{4096}))) {}
  ~Array() { ::operator delete(data, std::align_val_t{4096}); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  float* data;
};

struct Set {
  explicit Set(std::size_t n) : x(n), x0(n), g(n), momentum(n) {
    for (std::size_t i = 0; i < n; ++i) {
      const auto noise = static_cast<float>((i * 2654435761u >> 8) % 65536) / 65536.0f;
      x0.data[i] = noise;
      x.data[i] = noise * 0.98f + 0.01f;
      g.data[i] = noise - 0.5f;
      momentum.data[i] = 0.5f - noise;
    }
  }
  Array x, x0, g, momentum;
};

void copy(float* to, const float* from, std::size_t n) { std::memcpy(to, from, n * sizeof(float)); }

#if defined(__SSE2__)
// `to` begins a cache line or nearly so; what is left at both ends is copied plainly.
void copy_streaming(float* to, const float* from, std::size_t n) {
  std::size_t i = 0;
  for (; i < n && reinterpret_cast<std::uintptr_t>(to + i) % 64 != 0; ++i) to[i] = from[i];
  for (; i + 16 <= n; i += 16)
    for (std::size_t k = 0; k < 16; k += 4) _mm_stream_ps(to + i + k, _mm_loadu_ps(from + i + k));
  for (; i < n; ++i) to[i] = from[i];
  _mm_sfence();
}
#endif

// Copies x0 to x of every set, each thread its own share of each array: the best case, threads meet only at the ends.
class Copier {
 public:
  Copier(std::vector<std::unique_ptr<Set>>& sets, std::size_t n, std::uint32_t threads)
      : sets_(sets), n_(n), count_(threads), meet_(threads) {
    for (std::uint32_t t = 1; t < threads; ++t)
      helpers_.emplace_back([this, t] {
        for (;;) {
          meet_.arrive_and_wait();
          if (ended_) return;
          share(t);
          meet_.arrive_and_wait();
        }
      });
  }
  ~Copier() {
    ended_ = true;
    meet_.arrive_and_wait();
    for (std::thread& helper : helpers_) helper.join();
  }
  using Copy = void (*)(float*, const float*, std::size_t);

  void run(Copy copy) {
    copy_ = copy;
    meet_.arrive_and_wait();
    share(0);
    meet_.arrive_and_wait();
  }

 private:
  void share(std::uint32_t t) {
    const std::size_t begin = n_ * t / count_, end = n_ * (t + 1) / count_;
    for (const auto& set : sets_) copy_(set->x.data + begin, set->x0.data + begin, end - begin);
  }

  std::vector<std::unique_ptr<Set>>& sets_;
  const std::size_t n_;
  const std::uint32_t count_;
  Copy copy_ = nullptr;
  std::barrier<> meet_;
  std::atomic<bool> ended_{false};
  std::vector<std::thread> helpers_;
};

struct Subject {
  const char* name;
  double arrays;  // read or written
  std::function<void()> run;  // over all sets
  std::vector<double> seconds;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void check(const signstep_api& api, signstep_status status) {
  if (status == SIGNSTEP_OK) return;
  std::fprintf(stderr, "perturbation: %s\n", api.last_error());
  std::exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  const signstep_api& api = *signstep_get_api(SIGNSTEP_ABI_VERSION);
  if (!options.instruction_set.empty()) check(api, api.set_instruction_set(options.instruction_set.c_str()));

  const std::size_t n = options.batch * options.elements;
  std::vector<std::unique_ptr<Set>> sets;
  for (std::size_t i = 0; i < options.sets; ++i) sets.push_back(std::make_unique<Set>(n));
  const std::vector<float> alpha(options.batch, 2.0f / 255), eps(options.batch, 8.0f / 255), wide(options.batch, 2.0f);
  std::vector<float> linf(options.batch), l2(options.batch);
  std::vector<std::int32_t> indices(options.batch), nan(options.batch);
  std::vector<std::uint8_t> zero(options.batch);
  for (std::size_t i = 0; i < options.batch; ++i) indices[i] = static_cast<std::int32_t>(i);

  const auto each_set = [&](auto body) {
    return [&sets, body] {
      for (const auto& set : sets) body(*set);
    };
  };
  const auto step = [&](signstep_status (*operation)(const signstep_step*), const std::vector<float>& ball) {
    return each_set([&, operation](Set& s) {
      const signstep_step arguments{.count = options.batch, .elements = options.elements, .x = s.x.data, .x0 = s.x0.data,
                                    .gradient = s.g.data, .momentum = s.momentum.data, .alpha = alpha.data(), .eps = ball.data(),
                                    .decay = 1, .direction = 1, .nan_counts = nan.data(), .zero_flags = zero.data(),
                                    .cancel = nullptr};
      check(api, operation(&arguments));
    });
  };
  const auto start = [&](signstep_status (*operation)(const signstep_start*)) {
    return each_set([&, operation](Set& s) {
      const signstep_start arguments{.count = options.batch, .elements = options.elements, .out = s.x.data, .x0 = s.x0.data,
                                     .eps = eps.data(), .sample_indices = indices.data(), .seed = 1, .restart = 0, .scale = 1,
                                     .sphere = 0, .cancel = nullptr};
      check(api, operation(&arguments));
    });
  };

  if (!options.json) {
    std::printf("signstep %s, %s, %zu sets of %zu x %zu float32, medians of %zu rounds\n\n", api.version(), api.instruction_set(),
                options.sets, options.batch, options.elements, options.rounds);
    std::printf("| threads | kernel | arrays | ms | GB/s | of copy |\n|---|---|---|---|---|---|\n");
  }
  for (const std::uint32_t threads : options.threads) {
    check(api, api.set_threads(threads));
    Copier copier(sets, n, threads);
    std::vector<Subject> subjects;
    subjects.push_back({"copy", 2, [&] { copier.run(copy); }, {}});
#if defined(__SSE2__)
    subjects.push_back({"copy_streaming", 2, [&] { copier.run(copy_streaming); }, {}});
#endif
    subjects.push_back({"start_uniform", 2, start(api.start_uniform), {}});
    subjects.push_back({"step_linf", 4, step(api.step_linf, eps), {}});
    subjects.push_back({"step_momentum", 6, step(api.step_momentum, eps), {}});
    subjects.push_back({"distances", 2, each_set([&](Set& s) {
                          check(api, api.distances(options.batch, options.elements, s.x.data, s.x0.data, linf.data(), l2.data()));
                        }),
                        {}});
    subjects.push_back({"start_l2", 2, start(api.start_l2), {}});
    subjects.push_back({"step_l2", 4, step(api.step_l2, wide), {}});
    for (std::size_t round = 0; round <= options.rounds; ++round) {
      for (Subject& subject : subjects) {
        const auto begun = std::chrono::steady_clock::now();
        subject.run();
        const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
        if (round > 0) subject.seconds.push_back(seconds);  // the first warms up
      }
    }
    double yardstick = 0;
    for (const Subject& subject : subjects) {
      const double seconds = median(subject.seconds) / static_cast<double>(options.sets);
      const double rate = subject.arrays * static_cast<double>(n * sizeof(float)) / seconds / 1e9;
      if (yardstick == 0) yardstick = rate;
      std::printf(options.json ? "{\"threads\":%u,\"kernel\":\"%s\",\"arrays\":%g,\"milliseconds\":%.4f,\"gigabytesPerSecond\":%.2f,"
                                 "\"ofCopy\":%.3f,\"instructionSet\":\"%s\"}\n"
                               : "| %u | %s | %g | %.3f | %.1f | %.2f |\n",
                  threads, subject.name, subject.arrays, seconds * 1e3, rate, rate / yardstick, api.instruction_set());
      std::fflush(stdout);
    }
  }
  return 0;
}
