// A filter bank as the fast forward kernels read it: bands in groups of 32, a lane's each, the widest first, so that a
// group's bands have about as many weights; all of them are given the widest one's number, in fours, of which
// `together` are read in a turn. Where a band has fewer its first bin is chosen so that the lanes' reads of bins meet
// few banks of shared memory twice.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <vector>

#include "melisma/filter_bank.h"

namespace melisma::gpu {

inline constexpr int kBandsOfGroup = 32;

struct FastBands {
  int groups = 0;
  std::int64_t fours = 0;       // of all groups
  std::int64_t weights_at = 0;  // floats from the table's beginning, where (first bin, fours, band) of every lane are
  std::int64_t bytes() const { return 4 * (weights_at + 4 * fours * kBandsOfGroup); }
};

namespace fast_bands {

// Bins are read in pairs.
inline std::int64_t even_first(const FilterBank::Band& band) { return band.first_bin & ~std::int64_t{1}; }

inline std::int64_t fours_of(const FilterBank::Band& band) {
  return band.count == 0 ? 0 : (band.first_bin + band.count - even_first(band) + 3) / 4;
}

// Bands, the widest first.
inline std::vector<int> order(const FilterBank& bank) {
  std::vector<int> result(static_cast<std::size_t>(bank.bands()));
  std::iota(result.begin(), result.end(), 0);
  const auto fours = [&](int b) { return fours_of(bank.band()[static_cast<std::size_t>(b)]); };
  std::stable_sort(result.begin(), result.end(), [&](int a, int b) { return fours(a) > fours(b); });
  return result;
}

// A group's, whose widest band is this one.
inline std::int64_t fours_of_group(const FilterBank::Band& widest, std::int64_t together) {
  return (fours_of(widest) + together - 1) / together * together;
}

struct Lane {
  std::int64_t first = 0;
  int band = -1;
};

// Which lanes take bands [begin, end) of `order`, and from which bin: in a half of the warp 8-byte reads from the same
// of 16 banks wait for each other. The bands with the fewest choices choose first.
inline std::vector<Lane> place(const FilterBank& bank, const int* begin, const int* end, std::int64_t fours,
                               std::int64_t squares) {
  constexpr int kHalf = kBandsOfGroup / 2;
  struct Choice {
    std::int64_t lowest, highest;
    int band;
  };
  std::vector<Choice> choices;
  for (const int* b = begin; b < end; ++b) {
    const FilterBank::Band& band = bank.band()[static_cast<std::size_t>(*b)];
    const std::int64_t highest = std::min(even_first(band), (squares - 4 * fours) & ~std::int64_t{1});
    const std::int64_t lowest = std::max<std::int64_t>(0, band.first_bin + band.count - 4 * fours);
    choices.push_back({std::min(highest, (lowest + 1) & ~std::int64_t{1}), highest, *b});
  }
  std::stable_sort(choices.begin(), choices.end(),
                   [](const Choice& a, const Choice& b) { return a.highest - a.lowest < b.highest - b.lowest; });
  std::vector<Lane> lanes(kBandsOfGroup);
  int taken[2] = {0, 0}, load[2][kHalf] = {};
  for (const Choice& choice : choices) {
    int best_half = -1;
    std::int64_t best = 0;
    for (std::int64_t first = choice.highest; first >= std::max(choice.lowest, choice.highest - 2 * kHalf);
         first -= 2) {
      for (int half = 0; half < 2; ++half) {
        if (taken[half] == kHalf) continue;
        if (best_half >= 0 && load[half][first / 2 % kHalf] >= load[best_half][best / 2 % kHalf]) continue;
        best_half = half;
        best = first;
      }
    }
    ++load[best_half][best / 2 % kHalf];
    lanes[static_cast<std::size_t>(kHalf * best_half + taken[best_half]++)] = {best, choice.band};
  }
  return lanes;
}

}  // namespace fast_bands

inline FastBands fast_bands_shape(const FilterBank& bank, std::int64_t together) {
  FastBands shape;
  const std::vector<int> order = fast_bands::order(bank);
  for (std::size_t i = 0; i < order.size(); i += kBandsOfGroup) {
    shape.fours += fast_bands::fours_of_group(bank.band()[static_cast<std::size_t>(order[i])], together);
    ++shape.groups;
  }
  shape.weights_at = 4 * std::int64_t{shape.groups} * kBandsOfGroup;
  return shape;
}

// Zeros stand behind the last bin; squares: how many values of a frame there are, zeros included.
inline void fill_fast_bands(const FilterBank& bank, const FastBands& shape, std::int64_t together, std::int64_t squares,
                            void* table) {
  std::memset(table, 0, static_cast<std::size_t>(shape.bytes()));
  std::int32_t* range = static_cast<std::int32_t*>(table);
  float* weights = static_cast<float*>(table) + shape.weights_at;
  const std::vector<int> order = fast_bands::order(bank);
  for (std::size_t i = 0; i < order.size(); i += kBandsOfGroup) {
    const int* const begin = order.data() + i;
    const int* const end = begin + std::min<std::size_t>(kBandsOfGroup, order.size() - i);
    const std::int64_t fours = fast_bands::fours_of_group(bank.band()[static_cast<std::size_t>(*begin)], together);
    const std::vector<fast_bands::Lane> lanes = fast_bands::place(bank, begin, end, fours, squares);
    for (std::size_t lane = 0; lane < lanes.size(); ++lane, range += 4) {
      range[0] = static_cast<std::int32_t>(lanes[lane].first);
      range[1] = static_cast<std::int32_t>(fours);
      range[2] = lanes[lane].band;
      if (lanes[lane].band < 0) continue;
      const FilterBank::Band& band = bank.band()[static_cast<std::size_t>(lanes[lane].band)];
      for (std::int64_t k = 0; k < band.count; ++k) {
        const std::int64_t at = band.first_bin + k - lanes[lane].first;
        weights[(at / 4 * kBandsOfGroup + static_cast<std::int64_t>(lane)) * 4 + at % 4] =
            bank.weights_f32()[static_cast<std::size_t>(band.offset + k)];
      }
    }
    weights += 4 * fours * kBandsOfGroup;
  }
}

}  // namespace melisma::gpu
