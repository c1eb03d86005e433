// A plugin for the tests of the loader. What is wrong with it depends on the name its file was given.
#include <dlfcn.h>

#include <cstdlib>
#include <string>

#include "signstep/engine.h"

namespace {

const char* last_error() { return "a fake has no devices"; }
std::int32_t device_count() { return 0; }

// The file's name without folder and suffix.
std::string own_file() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&own_file), &info) == 0) return "";
  const std::string path = info.dli_fname;
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

extern "C" SIGNSTEP_EXPORT const signstep_engine* signstep_plugin_engine(std::uint32_t engine_abi_version) {
  static std::string name, version;
  static signstep_engine engine{};
  const std::string file = own_file(), prefix = "libsignstep_";
  const std::size_t dash = file.find('-');
  name = file.substr(prefix.size(), dash - prefix.size());
  version = file.substr(dash + 1, file.rfind('.') - dash - 1);
  if (name == "deaf") return nullptr;
  if (name == "older") version = "0.0.9";
  if (name == "longer") version += "1";  // 0.1.0 is not 0.1.01
  if (name == "toolkit") version += ", CUDA 13.0";
  if (name == "misnamed") name = "another";
  engine.struct_size = name == "shorter" ? 8 : sizeof engine;
  engine.abi_version = name == "newer" ? engine_abi_version + 1 : engine_abi_version;
  engine.name = name.c_str();
  engine.version = version.c_str();
  engine.last_error = last_error;
  engine.device_count = device_count;
  return &engine;
}
