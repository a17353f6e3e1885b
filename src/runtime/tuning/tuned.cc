#include "runtime/tuning/tuned.h"

#include <map>
#include <memory>
#include <mutex>
#include <system_error>
#include <utility>
#include <vector>

#include "melisma/runtime.h"
#include "runtime/options.h"
#include "runtime/warning.h"

namespace melisma {
namespace {

namespace fs = std::filesystem;

struct Caches {
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<TuningCache>> by_device;
};
Caches& caches() {
  static auto* const kept = new Caches;
  return *kept;
}

fs::path directory() { return options().cache ? default_cache_directory() : fs::path(); }

std::shared_ptr<TuningCache> cache_of(const std::string& device) {
  const std::lock_guard lock(caches().mutex);
  std::shared_ptr<TuningCache>& cache = caches().by_device[device];
  if (cache == nullptr) cache = std::make_shared<TuningCache>(directory(), device, warn_later);
  return cache;
}

std::map<std::string, std::shared_ptr<TuningCache>> taken() {
  const std::lock_guard lock(caches().mutex);
  return std::exchange(caches().by_device, {});
}

}  // namespace

std::atomic<std::uint32_t> tuning_generation{1};

std::optional<TunedChoice> find_tuned(const std::string& device, const std::string& kernel, const std::string& job) {
  return cache_of(device)->find(kernel, job);
}

void store_tuned(const std::string& device, const std::string& kernel, const std::string& job,
                 const TunedChoice& choice) {
  cache_of(device)->store(kernel, job, choice);
}

void forget_tuned() {
  taken();
  tuning_generation.fetch_add(1);
}

std::vector<TunedVariant> tuning_cache() {
  std::map<std::string, std::shared_ptr<TuningCache>> ours;
  {
    const std::lock_guard lock(caches().mutex);
    ours = caches().by_device;
  }
  std::vector<TunedVariant> result;
  const auto add = [&result](const std::string& device, const std::vector<TunedEntry>& entries, const fs::path& file) {
    for (const TunedEntry& entry : entries) {
      result.push_back(
          {device, entry.kernel, entry.job, entry.choice.variant, entry.choice.microseconds, file.string()});
    }
  };
  std::error_code error;
  for (const auto& [device, cache] : ours) {
    const std::vector<TunedEntry> entries = cache->entries();
    add(device, entries, fs::exists(cache->file(), error) ? cache->file() : fs::path());
  }
  if (!directory().empty()) {
    for (const CacheFile& file : read_cache_files(directory())) {
      if (!ours.contains(file.device)) add(file.device, file.entries, file.file);
    }
  }
  tell_warnings();
  return result;
}

void clear_tuning_cache() {
  for (const auto& [device, cache] : taken()) cache->clear();
  if (!directory().empty()) remove_cache_files(directory());
  tuning_generation.fetch_add(1);
}

std::string tuning_cache_directory() { return directory().string(); }

}  // namespace melisma
