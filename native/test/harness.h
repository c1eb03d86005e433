// Tests without a framework: TEST("a sentence") { EXPECT(…); }. main() runs those whose sentence contains its argument, or all;
// `--file x_test.cc` runs those of one file.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace test {

struct Case {
  const char* sentence;
  void (*body)();
  const char* file;
};

inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

inline int& failures() {
  static int count = 0;
  return count;
}

struct Registered {
  Registered(const char* sentence, void (*body)(), const char* file) { cases().push_back({sentence, body, file}); }
};

inline void expect(bool holds, const char* file, int line, const char* what) {
  if (holds) return;
  ++failures();
  std::printf("  %s:%d: not so: %s\n", file, line, what);
}

// Bits, not values: tells -0 from 0 and takes NaN for equal.
inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

}  // namespace test

#define SIGNSTEP_JOIN_(a, b) a##b
#define SIGNSTEP_JOIN(a, b) SIGNSTEP_JOIN_(a, b)
#define TEST(sentence)                                                                                         \
  static void SIGNSTEP_JOIN(test_body_, __LINE__)();                                                           \
  static const test::Registered SIGNSTEP_JOIN(test_case_, __LINE__){sentence, SIGNSTEP_JOIN(test_body_, __LINE__), __FILE__}; \
  static void SIGNSTEP_JOIN(test_body_, __LINE__)()
#define EXPECT(condition) test::expect((condition), __FILE__, __LINE__, #condition)
