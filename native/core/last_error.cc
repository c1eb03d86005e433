#include "last_error.h"

#include <cstdarg>
#include <cstdio>

namespace signstep {
namespace {

thread_local char text[1024] = "";  // room for the paths of plugins

}  // namespace

const char* last_error() { return text; }

signstep_status fail(signstep_status status, const char* format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return status;
}

}  // namespace signstep
