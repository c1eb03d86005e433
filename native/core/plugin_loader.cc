#include "plugin_loader.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cctype>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "last_error.h"

namespace signstep {
namespace {

constexpr const char* kSuffix = ".so";  // of a module that is only ever opened, on macOS too
constexpr const char* kGetter = "signstep_plugin_engine";
using Getter = const signstep_engine* (*)(std::uint32_t engine_abi_version);

// Never destroyed: engines may be asked for until the process ends.
struct Plugins {
  std::mutex mutex;
  std::map<std::string, const signstep_engine*> opened;
};
Plugins& plugins() {
  static auto* all = new Plugins;
  return *all;
}

// It becomes part of a file name: letters, digits and underscores only.
bool is_name(const std::string& name) {
  if (name.empty() || name.size() > 32) return false;
  for (const char c : name)
    if (std::islower(static_cast<unsigned char>(c)) == 0 && std::isdigit(static_cast<unsigned char>(c)) == 0 && c != '_') return false;
  return true;
}

// Of this very library: two versions in one process each find their own plugins.
std::string own_folder() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&own_folder), &info) == 0 || info.dli_fname == nullptr) return ".";
  const std::unique_ptr<char, decltype(&std::free)> real(realpath(info.dli_fname, nullptr), &std::free);
  const std::string file = real ? real.get() : info.dli_fname;
  const std::size_t slash = file.rfind('/');
  return slash == std::string::npos ? "." : file.substr(0, slash);
}

// The plugin's version is ours, alone or followed by the toolkit's: "0.1.0, CUDA 13.0".
bool is_own_version(const char* version) {
  constexpr std::size_t length = sizeof SIGNSTEP_VERSION - 1;
  if (version == nullptr || std::strncmp(version, SIGNSTEP_VERSION, length) != 0) return false;
  return version[length] == 0 || version[length] == ' ' || version[length] == ',';
}

struct Closed {
  void operator()(void* library) const { dlclose(library); }
};

const signstep_engine* open(const std::string& name) {
  const std::string file = own_folder() + "/libsignstep_" + name + "-" SIGNSTEP_VERSION + kSuffix;
  if (access(file.c_str(), F_OK) != 0)
    return fail(SIGNSTEP_UNSUPPORTED, "plugin %s: expected %s, found no such file", name.c_str(), file.c_str()), nullptr;
  const auto refuse = [&](const std::string& expected, const std::string& found) {
    fail(SIGNSTEP_UNSUPPORTED, "plugin %s: %s: expected %s, found %s", name.c_str(), file.c_str(), expected.c_str(), found.c_str());
    return nullptr;
  };
  std::unique_ptr<void, Closed> library(dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL));
  if (library == nullptr) {
    const char* why = dlerror();
    return refuse("a loadable library", why != nullptr ? why : "none");
  }
  const auto getter = reinterpret_cast<Getter>(dlsym(library.get(), kGetter));
  if (getter == nullptr) return refuse(kGetter, "no such symbol");
  const std::string wanted = "engine interface " + std::to_string(SIGNSTEP_ENGINE_ABI_VERSION);
  const signstep_engine* engine = getter(SIGNSTEP_ENGINE_ABI_VERSION);
  if (engine == nullptr) return refuse(wanted, "another");
  if (engine->abi_version != SIGNSTEP_ENGINE_ABI_VERSION) return refuse(wanted, std::to_string(engine->abi_version));
  if (engine->struct_size < sizeof(signstep_engine))
    return refuse("a table of " + std::to_string(sizeof(signstep_engine)) + " bytes", std::to_string(engine->struct_size));
  if (!is_own_version(engine->version)) return refuse("version " SIGNSTEP_VERSION, engine->version != nullptr ? engine->version : "none");
  if (engine->name == nullptr || name != engine->name)
    return refuse("the engine " + name, engine->name != nullptr ? engine->name : "one without a name");
  (void)library.release();  // kept: its code runs until the process ends
  return engine;
}

}  // namespace

const signstep_engine* load_plugin(const char* name) {
  const std::string key = name;
  if (!is_name(key)) return fail(SIGNSTEP_INVALID, "plugin '%.64s': expected a name of lower-case letters, digits and _", name), nullptr;
  const std::lock_guard lock(plugins().mutex);
  if (const auto found = plugins().opened.find(key); found != plugins().opened.end()) return found->second;
  const signstep_engine* engine = open(key);
  if (engine != nullptr) plugins().opened.emplace(key, engine);
  return engine;
}

}  // namespace signstep
