// Plugins are found beside the library that asks, and refused with a reason. Each test works in a folder of its own with a copy of the
// core library, as a second installation in the process would be.
#include <dlfcn.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "harness.h"
#include "signstep/engine.h"

namespace {

namespace fs = std::filesystem;

class Installation {
 public:
  Installation() {
    std::string pattern = (fs::temp_directory_path() / "signstep-plugins-XXXXXX").string();
    folder_ = fs::canonical(mkdtemp(pattern.data()));
    Dl_info info{};
    dladdr(reinterpret_cast<const void*>(&signstep_get_api), &info);
    core_ = folder_ / fs::path(info.dli_fname).filename();
    fs::copy_file(info.dli_fname, core_);
    library_ = dlopen(core_.c_str(), RTLD_NOW | RTLD_LOCAL);
    EXPECT(library_ != nullptr);
    const auto get = reinterpret_cast<const signstep_api* (*)(std::uint32_t)>(dlsym(library_, "signstep_get_api"));
    api_ = get(SIGNSTEP_ABI_VERSION);
  }
  ~Installation() { fs::remove_all(folder_); }
  Installation(const Installation&) = delete;

  const signstep_api& api() const { return *api_; }
  fs::path plugin(const std::string& name) const { return folder_ / ("libsignstep_" + name + "-" + api_->version() + ".so"); }
  void fake(const std::string& name) const { fs::copy_file(SIGNSTEP_FAKE_PLUGIN, plugin(name)); }
  const fs::path& core() const { return core_; }

  // Why there is no such engine; empty where there is one.
  std::string refusal(const std::string& name) const { return api_->engine(name.c_str()) != nullptr ? "" : api_->last_error(); }

 private:
  fs::path folder_, core_;
  void* library_ = nullptr;
  const signstep_api* api_ = nullptr;
};

bool mentions(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST("an engine is that of the plugin beside the library, opened once") {
  const Installation here;
  here.fake("fake");
  const signstep_engine* engine = here.api().engine("fake");
  EXPECT(engine != nullptr && std::strcmp(engine->name, "fake") == 0);
  EXPECT(here.api().engine("fake") == engine);
  EXPECT(engine->device_count() == 0);
  here.fake("toolkit");
  EXPECT(here.refusal("toolkit").empty());
}

TEST("the table of the C interface says that it has an engine") {
  const signstep_api* api = signstep_get_api(SIGNSTEP_ABI_VERSION);
  EXPECT(api->struct_size >= offsetof(signstep_api, engine) + sizeof api->engine);
}

TEST("a plugin that is missing is looked for again") {
  const Installation here;
  const std::string why = here.refusal("fake");
  EXPECT(mentions(why, here.plugin("fake").string()) && mentions(why, "no such file"));
  here.fake("fake");
  EXPECT(here.refusal("fake").empty());
}

TEST("a plugin that does not fit is refused with what was expected and found") {
  const Installation here;
  for (const char* name : {"deaf", "older", "longer", "newer", "shorter", "misnamed"}) here.fake(name);
  EXPECT(mentions(here.refusal("deaf"), "expected engine interface 2, found another"));
  EXPECT(mentions(here.refusal("newer"), "expected engine interface 2, found 3"));
  EXPECT(mentions(here.refusal("older"), std::string("expected version ") + here.api().version() + ", found 0.0.9"));
  EXPECT(mentions(here.refusal("longer"), "expected version"));
  EXPECT(mentions(here.refusal("shorter"), "found 8"));
  EXPECT(mentions(here.refusal("misnamed"), "expected the engine misnamed, found another"));
  for (const char* name : {"deaf", "older"}) EXPECT(mentions(here.refusal(name), here.plugin(name).string()));
}

TEST("a file that is no plugin is refused") {
  const Installation here;
  std::ofstream(here.plugin("text")) << "no library";
  EXPECT(mentions(here.refusal("text"), "expected a loadable library"));
  fs::copy_file(here.core(), here.plugin("core"));
  EXPECT(mentions(here.refusal("core"), "expected signstep_plugin_engine, found no such symbol"));
}

TEST("names that are no names are refused before they become a path") {
  const Installation here;
  for (const char* name : {"", "../fake", "a-b", "CUDA", "an_engine_with_a_name_that_is_far_too_long"})
    EXPECT(mentions(here.refusal(name), "expected a name"));
  EXPECT(here.api().engine(nullptr) == nullptr && mentions(here.api().last_error(), "name"));
}

TEST("two installations in one process each have their own engine") {
  const Installation a, b;
  a.fake("fake");
  b.fake("fake");
  const signstep_engine *of_a = a.api().engine("fake"), *of_b = b.api().engine("fake");
  EXPECT(of_a != nullptr && of_b != nullptr && of_a != of_b);
}

TEST("threads that ask at once get the same engine") {
  const Installation here;
  here.fake("fake");
  std::atomic<int> different{0};
  std::vector<std::thread> threads;
  std::atomic<const signstep_engine*> first{nullptr};
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      const signstep_engine* mine = here.api().engine("fake");
      const signstep_engine* none = nullptr;
      if (!first.compare_exchange_strong(none, mine) && none != mine) ++different;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT(first.load() != nullptr && different.load() == 0);
}
