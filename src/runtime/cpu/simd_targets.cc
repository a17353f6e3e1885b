#include "runtime/cpu/simd_targets.h"

#include <algorithm>
#include <cstdint>
#include <mutex>

#include "melisma/error.h"
#include "melisma/runtime.h"
#include "runtime/cpu/highway.h"
#include "runtime/options.h"

namespace melisma {
namespace {

struct Target {
  std::int64_t bit;
  std::string name;
};

// Best first: Highway numbers better targets with lower bits.
const std::vector<Target>& targets() {
  static const std::vector<Target> once = [] {
    std::vector<Target> result;
    for (std::int64_t bit : hwy::SupportedAndGeneratedTargets()) result.push_back({bit, hwy::TargetName(bit)});
    return result;
  }();
  return once;
}

std::mutex mutex;
std::size_t chosen = 0;  // index in targets()

void choose(std::size_t index) {
  const std::vector<Target>& all = targets();
  chosen = index;
  // Highway takes the best of the mask: with none better than the chosen one, that is the chosen one.
  hwy::SetSupportedTargetsForTest(index == 0 ? 0 : all[index].bit);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

std::size_t index_of(std::string_view name) {
  const std::vector<Target>& all = targets();
  const auto found = std::find_if(all.begin(), all.end(), [&](const Target& t) { return t.name == name; });
  return static_cast<std::size_t>(found - all.begin());
}

}  // namespace

bool simd_target_exists(std::string_view name) { return index_of(name) < targets().size(); }

void apply_simd_option() {
  static std::once_flag once;
  std::call_once(once, [] {
    const std::string& name = options().simd;
    if (name.empty()) return;
    const std::lock_guard lock(mutex);
    choose(index_of(name));
  });
}

std::vector<std::string> simd_targets() {
  std::vector<std::string> names;
  for (const Target& target : targets()) names.push_back(target.name);
  return names;
}

std::string simd_target() {
  apply_simd_option();
  const std::lock_guard lock(mutex);
  return targets()[chosen].name;
}

void set_simd_target(const std::string& name) {
  apply_simd_option();
  if (!name.empty() && !simd_target_exists(name)) {
    std::string all;
    for (const Target& target : targets()) all += (all.empty() ? "'" : ", '") + target.name + "'";
    throw Error(ErrorKind::kInvalidArgument, "set_simd_target: name must be one of " + all + ", got '" + name + "'");
  }
  const std::lock_guard lock(mutex);
  choose(name.empty() ? 0 : index_of(name));
}

}  // namespace melisma
