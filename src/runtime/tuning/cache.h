// Which variant of a kernel ran fastest on this device, kept on disk: one JSON file for each device and driver.
//
//   {"format": 1, "device": "NVIDIA H200, driver 580.159, melisma 0.1.0",
//    "choices": {"fast-forward": {"spectrum n_fft 1024 hop 256": {"variant": "32x16, 4 warps", "microseconds": 90.5}}}}
//
// Many processes may write one file: a writer holds a lock file, reads again what the others wrote, adds its own and
// renames a temporary file over it, so a reader sees the old or the new text and never a part. A file that cannot be
// read as the above, or is another device's, is ignored with one warning and replaced at the next write; where nothing
// can be written the choices live as long as the process, with one warning.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace melisma {

struct TunedChoice {
  std::string variant;
  double microseconds = 0;
  bool operator==(const TunedChoice&) const = default;
};

struct TunedEntry {
  std::string kernel, job;
  TunedChoice choice;
  bool operator==(const TunedEntry&) const = default;
};

class TuningCache {
 public:
  using Warn = std::function<void(const std::string&)>;

  // directory: empty for a cache in memory only. device: name, driver and library version, what a choice depends on.
  TuningCache(std::filesystem::path directory, std::string device, Warn warn);

  std::optional<TunedChoice> find(const std::string& kernel, const std::string& job);
  void store(const std::string& kernel, const std::string& job, const TunedChoice& choice);
  std::vector<TunedEntry> entries();
  void clear();  // on disk too
  const std::filesystem::path& file() const { return file_; }

 private:
  using Choices = std::map<std::string, std::map<std::string, TunedChoice>>;  // by kernel, by job

  void load_once();
  std::optional<Choices> read();
  void write();
  void warn_once(const std::string& message);

  std::filesystem::path file_;
  std::string device_;
  Warn warn_;
  std::mutex mutex_;
  bool loaded_ = false, warned_ = false;
  Choices choices_;
};

struct CacheFile {
  std::filesystem::path file;
  std::string device;
  std::vector<TunedEntry> entries;
};
// The files of every device in `directory`; what is not ours, or cannot be read, is left out.
std::vector<CacheFile> read_cache_files(const std::filesystem::path& directory);
// Removes them, and those of ours that cannot be read.
void remove_cache_files(const std::filesystem::path& directory);

// MELISMA_CACHE_DIR, else XDG_CACHE_HOME/melisma, else ~/.cache/melisma (on macOS ~/Library/Caches/melisma); empty
// where there is no home.
std::filesystem::path default_cache_directory();

}  // namespace melisma
