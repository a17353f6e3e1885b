#include "runtime/options.h"

#include <charconv>
#include <cstdlib>
#include <string_view>

#include "melisma/error.h"
#include "runtime/cpu/simd_targets.h"

namespace melisma {
namespace {

bool parse_integer(std::string_view text, std::int64_t least, std::int64_t most, std::int64_t* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size() && *value >= least && *value <= most;
}

bool set_num_threads_option(std::string_view text, Options* options) {
  std::int64_t value = 0;
  if (!parse_integer(text, 1, 65536, &value)) return false;
  options->num_threads = static_cast<int>(value);
  return true;
}

bool set_pool_option(std::string_view text, Options* options) {
  std::int64_t value = 0;
  if (!parse_integer(text, 0, 1 << 20, &value)) return false;
  options->pool_mb = value;
  return true;
}

bool set_simd_option(std::string_view text, Options* options) {
  if (!simd_target_exists(text)) return false;
  options->simd = text;
  return true;
}

bool set_strict_option(std::string_view text, Options* options) {
  std::int64_t value = 0;
  if (!parse_integer(text, 0, 1, &value)) return false;
  options->strict = value == 1;
  return true;
}

struct Variable {
  const char* name;
  const char* allowed;
  bool (*set)(std::string_view, Options*);
};

constexpr Variable kVariables[] = {
    {"MELISMA_NUM_THREADS", "an integer from 1 to 65536", set_num_threads_option},
    {"MELISMA_POOL_MB", "an integer from 0 to 1048576", set_pool_option},
    {"MELISMA_SIMD", "one of the SIMD targets of this machine", set_simd_option},
    {"MELISMA_STRICT", "0 or 1", set_strict_option},
};

struct Parsed {
  Options options;
  std::string refused;  // the error text of the first bad variable
};

const Parsed& parsed() {
  static const Parsed once = [] {
    Parsed result;
    for (const Variable& variable : kVariables) {
      const char* text = std::getenv(variable.name);
      if (text == nullptr || *text == '\0') continue;
      if (!variable.set(text, &result.options) && result.refused.empty()) {
        result.refused =
            std::string("environment: ") + variable.name + " must be " + variable.allowed + ", got '" + text + "'";
      }
    }
    return result;
  }();
  return once;
}

}  // namespace

const Options& options() { return parsed().options; }

void check_options() {
  if (!parsed().refused.empty()) throw Error(ErrorKind::kInvalidArgument, parsed().refused);
}

}  // namespace melisma
