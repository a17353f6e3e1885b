#include "runtime/check.h"

#include <cstdarg>
#include <cstdio>

namespace melisma {
namespace {

[[noreturn]] void fail(ErrorKind kind, const char* op, const char* format, std::va_list arguments) {
  char text[512];
  std::vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  throw Error(kind, std::string(op) + ": " + text);
}

}  // namespace

void fail_argument(const char* op, const char* format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  fail(ErrorKind::kInvalidArgument, op, format, arguments);
}

void fail_type(const char* op, const char* format, ...) {
  std::va_list arguments;
  va_start(arguments, format);
  fail(ErrorKind::kInvalidType, op, format, arguments);
}

}  // namespace melisma
