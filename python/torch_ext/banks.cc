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

FilterBankView checked(const Tensor& dense, const FilterBank* host, const Tensor& signal, const char* op) {
  if (dense.device.type == DeviceType::kCpu && signal.device.type == DeviceType::kCpu) return {*host};
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
    auto bank =
        std::make_shared<const FilterBank>(Tensor(const_cast<double*>(weights), DType::kFloat64, Shape{bins, bands}));
    const auto key = static_cast<std::int64_t>(bank->fingerprint().first >> 1);
    const std::lock_guard lock(kept().mutex);
    if (kept().banks.size() >= kMostKept && kept().banks.count(key) == 0) return 0;
    kept().banks.emplace(key, std::move(bank));
    return key;
  } catch (const std::exception&) {
    return 0;
  }
}
