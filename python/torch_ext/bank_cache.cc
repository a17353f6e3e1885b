#include "bank_cache.h"

#include <cstring>
#include <mutex>
#include <utility>
#include <vector>

namespace melisma::torch_ext {
namespace {

constexpr std::size_t kKept = 8;  // banks of one model; more only costs their conversion

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

}  // namespace

std::shared_ptr<const FilterBank> cached_bank(const Tensor& dense) {
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
  if (entries.size() == kKept) entries.erase(entries.begin());
  entries.push_back({dense.dtype, dense.size(0), dense.size(1), std::vector<char>(data, data + bytes), bank});
  return bank;
}

}  // namespace melisma::torch_ext
