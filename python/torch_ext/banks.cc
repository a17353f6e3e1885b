#include "banks.h"

#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "melisma/error.h"

namespace melisma::torch_ext {
namespace {

// --- on the CPU: recognised by their values --------------------------------------------------------------------------

constexpr std::size_t kRecent = 8;  // banks of one model; more only costs their conversion

struct Entry {
  DType dtype;
  std::int64_t bins, bands;
  std::vector<char> values;
  std::shared_ptr<const FilterBank> bank;
};

bool contiguous(const Tensor& t) { return t.stride(1) == 1 && t.stride(0) == t.size(1); }

bool same(const Entry& entry, const Tensor& dense) {
  return entry.dtype == dense.dtype && entry.bins == dense.size(0) && entry.bands == dense.size(1) &&
         std::memcmp(entry.values.data(), dense.data, entry.values.size()) == 0;
}

std::shared_ptr<const FilterBank> recognised(const Tensor& dense) {
  static std::mutex mutex;
  static std::vector<Entry> entries;  // the most recent one last
  if (!contiguous(dense)) return std::make_shared<const FilterBank>(dense);
  const std::lock_guard lock(mutex);
  for (std::size_t i = entries.size(); i-- > 0;) {
    if (!same(entries[i], dense)) continue;
    if (i + 1 < entries.size()) std::swap(entries[i], entries.back());
    return entries.back().bank;
  }
  auto bank = std::make_shared<const FilterBank>(dense);
  const std::size_t bytes = static_cast<std::size_t>(dense.size(0) * dense.size(1)) * dtype_size(dense.dtype);
  const char* data = static_cast<const char*>(dense.data);
  if (entries.size() == kRecent) entries.erase(entries.begin());
  entries.push_back({dense.dtype, dense.size(0), dense.size(1), std::vector<char>(data, data + bytes), bank});
  return bank;
}

// --- on a device: named by a key -------------------------------------------------------------------------------------

// Never taken out: what kernels read on the device is kept by bank too, and a captured graph goes on reading it. A
// program makes a few; one that goes on making them has its later ones read as matrices.
constexpr std::size_t kMostKept = 256;

struct Kept {
  std::mutex mutex;
  std::map<std::int64_t, std::shared_ptr<const FilterBank>> banks;
};

Kept& kept() {
  static Kept* const all = new Kept;  // outlives every thread that calls at exit
  return *all;
}

std::shared_ptr<const FilterBank> named(std::int64_t key) {
  if (key == 0) return nullptr;
  const std::lock_guard lock(kept().mutex);
  const auto found = kept().banks.find(key);
  return found == kept().banks.end() ? nullptr : found->second;
}

// FNV-1a over 64-bit words, each mixed before (the finaliser of splitmix64): zeros and small differences count too.
std::int64_t fingerprint(const double* weights, std::int64_t bins, std::int64_t bands) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  const auto add = [&hash](std::uint64_t word) {
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
    hash = (hash ^ word ^ (word >> 31)) * 0x100000001b3u;
    hash ^= hash >> 29;
  };
  add(static_cast<std::uint64_t>(bins));
  add(static_cast<std::uint64_t>(bands));
  for (std::int64_t i = 0; i < bins * bands; ++i) {
    std::uint64_t word = 0;
    std::memcpy(&word, weights + i, sizeof word);
    add(word + static_cast<std::uint64_t>(i));
  }
  const std::int64_t key = static_cast<std::int64_t>(hash >> 1);
  return key == 0 ? 1 : key;
}

FilterBankView checked(const Tensor& dense, const FilterBank* host, const Tensor& signal, const char* op) {
  if (dense.device.type == DeviceType::kCpu && signal.device.type == DeviceType::kCpu) return {*host};
  if (dense.device != signal.device) {
    const auto name = [](const Device& device) {
      return device.type == DeviceType::kCpu ? std::string("cpu") : "cuda:" + std::to_string(device.index);
    };
    throw Error(ErrorKind::kInvalidType, std::string(op) + ": filterbank must be on the input's device " +
                                             name(signal.device) + ", got " + name(dense.device));
  }
  if (host != nullptr && (host->bins() != dense.size(0) || host->bands() != dense.size(1))) {
    throw Error(ErrorKind::kInvalidArgument,
                std::string(op) + ": bank_key must be that of the filterbank's values, got that of another shape");
  }
  return FilterBankView(dense, host);
}

}  // namespace

Bank::Bank(const Tensor& dense, std::int64_t key, const Tensor& signal, const char* op)
    : host_(dense.device.type == DeviceType::kCpu ? recognised(dense) : named(key)),
      view_(checked(dense, host_.get(), signal, op)) {}

}  // namespace melisma::torch_ext

std::int64_t melisma_keep_bank(const double* weights, std::int64_t bins, std::int64_t bands) noexcept {
  using namespace melisma;
  using namespace melisma::torch_ext;
  try {
    const std::int64_t key = fingerprint(weights, bins, bands);
    const std::lock_guard lock(kept().mutex);
    if (kept().banks.size() >= kMostKept && kept().banks.count(key) == 0) return 0;
    auto& bank = kept().banks[key];
    if (bank == nullptr) {
      bank =
          std::make_shared<const FilterBank>(Tensor(const_cast<double*>(weights), DType::kFloat64, Shape{bins, bands}));
    }
    return key;
  } catch (const std::exception&) {
    return 0;
  }
}
