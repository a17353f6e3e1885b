// A filter bank by bins instead of by bands: what its adjoint reads.
#pragma once

#include <cstdint>
#include <vector>

#include "melisma/filter_bank.h"

namespace melisma {

template <typename C>
struct BankByBin {
  struct Entry {
    std::int64_t band;
    C weight;
  };
  std::vector<std::int64_t> first;  // [bins + 1]: bin k has entries first[k] .. first[k + 1] - 1
  std::vector<Entry> entries;       // of a bin in order of bands, zero weights left out

  explicit BankByBin(const FilterBank& bank) : first(static_cast<std::size_t>(bank.bins() + 1), 0) {
    const auto for_each = [&bank](auto body) {
      for (std::int64_t b = 0; b < bank.bands(); ++b) {
        const FilterBank::Band& band = bank.band()[static_cast<std::size_t>(b)];
        for (std::int64_t i = 0; i < band.count; ++i) {
          const double weight = bank.weights()[static_cast<std::size_t>(band.offset + i)];
          if (weight != 0.0) body(static_cast<std::size_t>(band.first_bin + i), b, weight);
        }
      }
    };
    for_each([this](std::size_t bin, std::int64_t, double) { ++first[bin + 1]; });
    for (std::size_t k = 1; k < first.size(); ++k) first[k] += first[k - 1];
    entries.resize(static_cast<std::size_t>(first.back()));
    std::vector<std::int64_t> next = first;
    for_each([&](std::size_t bin, std::int64_t b, double weight) {
      entries[static_cast<std::size_t>(next[bin]++)] = {b, static_cast<C>(weight)};
    });
  }
};

}  // namespace melisma
