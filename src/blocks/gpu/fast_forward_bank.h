// A filter bank as the fast forward kernels read it: bands in groups of as many as a frame has lanes, a lane's band of
// a group being `group * lanes + lane`. All bands of a group are given the widest one's number of weights, in fours.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "melisma/filter_bank.h"

namespace melisma::gpu {

struct FastBank {
  int groups = 0;
  std::int64_t fours = 0;       // of all groups
  std::int64_t weights_at = 0;  // floats from the table's beginning, where (first bin, fours) of every lane's bands are
  std::int64_t bytes() const { return 4 * (weights_at + 4 * fours * lanes); }
  int lanes = 0;
};

namespace fast_bank {

// Bins are read in pairs.
inline std::int64_t even_first(const FilterBank::Band& band) { return band.first_bin & ~std::int64_t{1}; }

// Weights of a band in fours.
inline std::int64_t fours_of(const FilterBank::Band& band) {
  return band.count == 0 ? 0 : (band.first_bin + band.count - even_first(band) + 3) / 4;
}

inline std::int64_t fours_of_group(const FilterBank& bank, int lanes, int group) {
  const std::int64_t first = std::int64_t{group} * lanes, last = std::min(first + lanes, bank.bands());
  std::int64_t widest = 0;
  for (std::int64_t b = first; b < last; ++b) {
    widest = std::max(widest, fours_of(bank.band()[static_cast<std::size_t>(b)]));
  }
  return widest;
}

}  // namespace fast_bank

inline FastBank fast_bank_shape(const FilterBank& bank, int lanes) {
  FastBank shape;
  shape.lanes = lanes;
  shape.groups = static_cast<int>((bank.bands() + lanes - 1) / lanes);
  for (int group = 0; group < shape.groups; ++group) shape.fours += fast_bank::fours_of_group(bank, lanes, group);
  shape.weights_at = (2 * std::int64_t{shape.groups} * lanes + 3) / 4 * 4;
  return shape;
}

// Zeros stand behind the last bin; squares: how many values of a frame there are, zeros included.
inline void fill_fast_bank(const FilterBank& bank, const FastBank& shape, std::int64_t squares, void* table) {
  std::memset(table, 0, static_cast<std::size_t>(shape.bytes()));
  std::int32_t* range = static_cast<std::int32_t*>(table);
  float* weights = static_cast<float*>(table) + shape.weights_at;
  for (int group = 0; group < shape.groups; ++group) {
    const std::int64_t fours = fast_bank::fours_of_group(bank, shape.lanes, group);
    for (std::int64_t lane = 0; lane < shape.lanes; ++lane, range += 2) {
      range[1] = static_cast<std::int32_t>(fours);
      const std::int64_t b = std::int64_t{group} * shape.lanes + lane;
      if (b >= bank.bands()) continue;
      const FilterBank::Band& band = bank.band()[static_cast<std::size_t>(b)];
      const std::int64_t first = std::min(fast_bank::even_first(band), (squares - 4 * fours) & ~std::int64_t{1});
      range[0] = static_cast<std::int32_t>(first);
      for (std::int64_t i = 0; i < band.count; ++i) {
        const std::int64_t at = band.first_bin + i - first;
        weights[(at / 4 * shape.lanes + lane) * 4 + at % 4] =
            bank.weights_f32()[static_cast<std::size_t>(band.offset + i)];
      }
    }
    weights += 4 * fours * shape.lanes;
  }
}

}  // namespace melisma::gpu
