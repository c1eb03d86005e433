#include "harness.h"

int main(int argc, char** argv) {
  int ran = 0;
  for (const test::Case& item : test::cases()) {
    if (argc > 1 && std::strstr(item.sentence, argv[1]) == nullptr) continue;
    ++ran;
    const int before = test::failures();
    item.body();
    std::printf("%s %s\n", test::failures() == before ? "ok  " : "FAIL", item.sentence);
  }
  std::printf("%d tests, %d failures\n", ran, test::failures());
  return ran == 0 || test::failures() != 0 ? 1 : 0;
}
