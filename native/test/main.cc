#include "harness.h"

namespace {

const char* base_name(const char* path) {
  const char* slash = std::strrchr(path, '/');
  return slash == nullptr ? path : slash + 1;
}

bool wanted(const test::Case& item, int argc, char** argv) {
  if (argc > 2 && std::strcmp(argv[1], "--file") == 0) return std::strcmp(base_name(item.file), argv[2]) == 0;
  return argc < 2 || std::strstr(item.sentence, argv[1]) != nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  int ran = 0;
  for (const test::Case& item : test::cases()) {
    if (!wanted(item, argc, argv)) continue;
    ++ran;
    const int before = test::failures();
    item.body();
    std::printf("%s %s\n", test::failures() == before ? "ok  " : "FAIL", item.sentence);
    std::fflush(stdout);
  }
  std::printf("%d tests, %d failures\n", ran, test::failures());
  return ran == 0 || test::failures() != 0 ? 1 : 0;
}
