#include "runtime/tuning/forced_variant.h"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <map>
#include <mutex>
#include <string>

#include "melisma/error.h"
#include "melisma/runtime.h"
#include "runtime/options.h"
#include "runtime/tuning/tuned.h"

namespace melisma {
namespace {

struct Forced {
  std::mutex mutex;
  std::map<std::string, std::string, std::less<>> variants;
};
Forced& forced() {
  static auto* const kept = new Forced;
  return *kept;
}

std::atomic<int> autotune_mode{-1};  // -1: as MELISMA_AUTOTUNE says
std::atomic<int> autotune_scopes{0};

}  // namespace

ForcedVariant forced_variant(const char* kernel) {
  {
    const std::lock_guard lock(forced().mutex);
    const auto found = forced().variants.find(kernel);
    if (found != forced().variants.end()) return {found->second, "set_variant"};
  }
  const auto found = options().variants.find(kernel);
  return {found == options().variants.end() ? "" : found->second, "MELISMA_VARIANT"};
}

void set_variant(const std::string& kernel, const std::string& variant) {
  if (std::find(std::begin(kTunedKernels), std::end(kTunedKernels), kernel) == std::end(kTunedKernels)) {
    std::string known;
    for (const char* name : kTunedKernels) known += (known.empty() ? "'" : ", '") + std::string(name) + "'";
    throw Error(ErrorKind::kInvalidArgument, "set_variant: kernel must be one of " + known + ", got '" + kernel + "'");
  }
  {
    const std::lock_guard lock(forced().mutex);
    if (variant.empty()) {
      forced().variants.erase(kernel);
    } else {
      forced().variants[kernel] = variant;
    }
  }
  tuning_generation.fetch_add(1);
}

bool autotune() {
  if (autotune_scopes.load(std::memory_order_relaxed) > 0) return true;
  const int mode = autotune_mode.load(std::memory_order_relaxed);
  return mode < 0 ? options().autotune : mode == 1;
}

void set_autotune(bool on) {
  autotune_mode.store(on ? 1 : 0);
  tuning_generation.fetch_add(1);
}

AutotuneScope::AutotuneScope() {
  autotune_scopes.fetch_add(1);
  tuning_generation.fetch_add(1);
}

// A choice that was made inside holds outside as well.
AutotuneScope::~AutotuneScope() { autotune_scopes.fetch_sub(1); }

}  // namespace melisma
