#include "runtime/options.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <iterator>
#include <string_view>
#include <utility>

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

bool set_cuda_option(std::string_view text, Options* options) {
  std::int64_t value = 0;
  if (!parse_integer(text, 0, 1, &value)) return false;
  options->cuda = value == 1;
  return true;
}

bool set_cuda_path_option(std::string_view text, Options* options) {
  if (text != "auto" && text != "fast" && text != "generic") return false;
  options->cuda_path = text == "auto" ? gpu::Path::kAuto : text == "fast" ? gpu::Path::kFast : gpu::Path::kGeneric;
  return true;
}

bool set_flag(std::string_view text, bool* flag) {
  if (text != "0" && text != "1") return false;
  *flag = text == "1";
  return true;
}

bool set_autotune_option(std::string_view text, Options* options) { return set_flag(text, &options->autotune); }

bool set_cache_option(std::string_view text, Options* options) { return set_flag(text, &options->cache); }

bool set_variant_option(std::string_view text, Options* options) {
  std::map<std::string, std::string> variants;
  while (!text.empty()) {
    const std::string_view entry = text.substr(0, text.find(';'));
    text.remove_prefix(std::min(text.size(), entry.size() + 1));
    if (entry.empty()) continue;
    const std::size_t equals = entry.find('=');
    if (equals == std::string_view::npos || equals + 1 == entry.size()) return false;
    const std::string_view kernel = entry.substr(0, equals);
    if (std::find(std::begin(kTunedKernels), std::end(kTunedKernels), kernel) == std::end(kTunedKernels)) return false;
    variants[std::string(kernel)] = entry.substr(equals + 1);
  }
  options->variants = std::move(variants);
  return true;
}

struct Variable {
  const char* name;
  const char* allowed;
  bool (*set)(std::string_view, Options*);
};

constexpr Variable kVariables[] = {
    {"MELISMA_AUTOTUNE", "0 or 1", set_autotune_option},
    {"MELISMA_CACHE", "0 or 1", set_cache_option},
    {"MELISMA_CUDA", "0 or 1", set_cuda_option},
    {"MELISMA_CUDA_PATH", "'auto', 'fast' or 'generic'", set_cuda_path_option},
    {"MELISMA_NUM_THREADS", "an integer from 1 to 65536", set_num_threads_option},
    {"MELISMA_POOL_MB", "an integer from 0 to 1048576", set_pool_option},
    {"MELISMA_SIMD", "one of the SIMD targets of this machine", set_simd_option},
    {"MELISMA_STRICT", "0 or 1", set_strict_option},
    {"MELISMA_VARIANT", "like 'fast-forward=NAME;fast-inverse=1'", set_variant_option},
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
