#include "runtime/tuning/cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

namespace melisma {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kFormat = 1;

std::string file_name(const std::string& device) {
  std::string name;
  for (char c : device) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) || c == '.';
    if (plain || (!name.empty() && name.back() != '-')) name += plain ? c : '-';
  }
  return name + ".json";
}

// Held while the file is read, merged and replaced. flock ends with its process, so a crash leaves no lock behind.
class FileLock {
 public:
  explicit FileLock(const fs::path& path) : descriptor_(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
    if (descriptor_ >= 0 && flock(descriptor_, LOCK_EX) != 0) {
      close(descriptor_);
      descriptor_ = -1;
    }
  }
  ~FileLock() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  bool held() const { return descriptor_ >= 0; }

 private:
  int descriptor_;
};

fs::path lock_of(const fs::path& file) { return file.string() + ".lock"; }

using Choices = std::map<std::string, std::map<std::string, TunedChoice>>;

Choices choices_of(const json& document) {
  Choices choices;
  for (const auto& [kernel, jobs] : document.at("choices").items()) {
    for (const auto& [job, choice] : jobs.items()) {
      choices[kernel][job] = {choice.at("variant").get<std::string>(), choice.at("microseconds").get<double>()};
    }
  }
  return choices;
}

std::vector<TunedEntry> entries_of(const Choices& choices) {
  std::vector<TunedEntry> entries;
  for (const auto& [kernel, jobs] : choices) {
    for (const auto& [job, choice] : jobs) entries.push_back({kernel, job, choice});
  }
  return entries;
}

std::vector<fs::path> json_files(const fs::path& directory) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->path().extension() == ".json") files.push_back(entry->path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::optional<CacheFile> read_cache_file(const fs::path& file) {
  std::ifstream in(file);
  if (!in) return std::nullopt;
  try {
    const json document = json::parse(in);
    if (document.at("format").get<int>() != kFormat) return std::nullopt;
    return CacheFile{file, document.at("device").get<std::string>(), entries_of(choices_of(document))};
  } catch (const json::exception&) {
    return std::nullopt;
  }
}

}  // namespace

TuningCache::TuningCache(fs::path directory, std::string device, Warn warn)
    : file_(directory.empty() ? fs::path() : directory / file_name(device)),
      device_(std::move(device)),
      warn_(std::move(warn)) {}

void TuningCache::warn_once(const std::string& message) {
  if (!std::exchange(warned_, true) && warn_) warn_("tuning cache " + file_.string() + ": " + message);
}

// What the file holds; nullopt where it is not there or not ours.
std::optional<TuningCache::Choices> TuningCache::read() {
  std::ifstream in(file_);
  if (!in) return std::nullopt;
  try {
    const json document = json::parse(in);
    if (document.at("format").get<int>() != kFormat || document.at("device").get<std::string>() != device_) {
      warn_once("ignored, for it is of another format or device");
      return std::nullopt;
    }
    return choices_of(document);
  } catch (const json::exception& error) {
    warn_once(std::string("ignored, for it cannot be read: ") + error.what());
    return std::nullopt;
  }
}

void TuningCache::load_once() {
  if (std::exchange(loaded_, true) || file_.empty()) return;
  if (std::optional<Choices> found = read()) choices_ = std::move(*found);
}

void TuningCache::write() {
  if (file_.empty()) return;
  std::error_code error;
  fs::create_directories(file_.parent_path(), error);
  const FileLock lock(lock_of(file_));
  if (error || !lock.held()) return warn_once("cannot be written, the choices last as long as this process");
  if (std::optional<Choices> others = read()) {
    for (auto& [kernel, jobs] : *others) choices_[kernel].merge(jobs);  // ours win
  }
  json document{{"format", kFormat}, {"device", device_}, {"choices", json::object()}};
  for (const auto& [kernel, jobs] : choices_) {
    for (const auto& [job, choice] : jobs) {
      document["choices"][kernel][job] = {{"variant", choice.variant}, {"microseconds", choice.microseconds}};
    }
  }
  const fs::path temporary = file_.string() + "." + std::to_string(getpid());
  std::ofstream out(temporary, std::ios::trunc);
  out << document.dump(1) << '\n';
  out.close();
  if (out) fs::rename(temporary, file_, error);
  if (!out || error) {
    fs::remove(temporary, error);
    warn_once("cannot be written, the choices last as long as this process");
  }
}

std::optional<TunedChoice> TuningCache::find(const std::string& kernel, const std::string& job) {
  const std::lock_guard guard(mutex_);
  load_once();
  const auto jobs = choices_.find(kernel);
  if (jobs == choices_.end()) return std::nullopt;
  const auto choice = jobs->second.find(job);
  if (choice == jobs->second.end()) return std::nullopt;
  return choice->second;
}

void TuningCache::store(const std::string& kernel, const std::string& job, const TunedChoice& choice) {
  const std::lock_guard guard(mutex_);
  load_once();
  choices_[kernel][job] = choice;
  write();
}

std::vector<TunedEntry> TuningCache::entries() {
  const std::lock_guard guard(mutex_);
  load_once();
  return entries_of(choices_);
}

void TuningCache::clear() {
  const std::lock_guard guard(mutex_);
  choices_.clear();
  loaded_ = true;
  if (file_.empty()) return;
  const FileLock lock(lock_of(file_));
  std::error_code error;
  fs::remove(file_, error);
}

std::vector<CacheFile> read_cache_files(const fs::path& directory) {
  std::vector<CacheFile> files;
  for (const fs::path& file : json_files(directory)) {
    if (std::optional<CacheFile> found = read_cache_file(file)) files.push_back(std::move(*found));
  }
  return files;
}

void remove_cache_files(const fs::path& directory) {
  for (const fs::path& file : json_files(directory)) {
    std::error_code error;
    const bool locked_once = fs::exists(lock_of(file), error);  // by a writer of ours
    if (!locked_once && !read_cache_file(file)) continue;
    const FileLock lock(lock_of(file));
    fs::remove(file, error);
  }
}

fs::path default_cache_directory() {
  const auto variable = [](const char* name) -> fs::path {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
  };
  if (const fs::path own = variable("MELISMA_CACHE_DIR"); !own.empty()) return own;
  if (const fs::path xdg = variable("XDG_CACHE_HOME"); !xdg.empty()) return xdg / "melisma";
  const fs::path home = variable("HOME");
  if (home.empty()) return {};
#ifdef __APPLE__
  return home / "Library" / "Caches" / "melisma";
#else
  return home / ".cache" / "melisma";
#endif
}

}  // namespace melisma
