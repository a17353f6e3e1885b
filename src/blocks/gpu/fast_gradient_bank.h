// A filter bank as the fast gradient kernels read it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "blocks/gpu/fast_bands.h"
#include "melisma/filter_bank.h"

namespace melisma::gpu {

// By bins: the weights of the first band that has one in a bin and of those that follow it, in pairs, as many for every
// bin.
struct BinBands {
  std::int64_t bins = 0;   // even
  std::int64_t pairs = 1;  // of a bin
  std::int64_t bytes() const { return 8 * pairs * bins; }
  std::vector<std::int64_t> first;  // band of each bin
};

inline BinBands bin_bands(const FilterBank& bank) {
  BinBands result;
  result.bins = (bank.bins() + 1) / 2 * 2;
  result.first.assign(static_cast<std::size_t>(result.bins), -1);
  std::int64_t b = 0;
  for (const FilterBank::Band& band : bank.band()) {
    for (std::int64_t k = band.first_bin; k < band.first_bin + band.count; ++k) {
      const auto bin = static_cast<std::size_t>(k);
      if (result.first[bin] < 0) result.first[bin] = b;
      result.pairs = std::max<std::int64_t>(result.pairs, (b + 2 - result.first[bin]) / 2);
    }
    ++b;
  }
  return result;
}

inline void fill_bin_bands(const FilterBank& bank, const BinBands& shape, float* weights) {
  std::fill_n(weights, 2 * shape.pairs * shape.bins, 0.0f);
  std::int64_t b = 0;
  for (const FilterBank::Band& band : bank.band()) {
    for (std::int64_t i = 0; i < band.count; ++i) {
      const std::int64_t k = band.first_bin + i, place = b - shape.first[static_cast<std::size_t>(k)];
      weights[2 * (place / 2 * shape.bins + k) + place % 2] =
          bank.weights_f32()[static_cast<std::size_t>(band.offset + i)];
    }
    ++b;
  }
}

// By bands, in groups of as many as a frame has lanes: a lane's band of a group is `group * lanes + lane`. All bands of
// a group are given the widest one's number of weights, in fours.
struct BandBins {
  int groups = 0;
  std::int64_t fours = 0;       // of all groups
  std::int64_t weights_at = 0;  // floats from the table's beginning, where (first bin, fours) of every lane's bands are
  std::int64_t bytes() const { return 4 * (weights_at + 4 * fours * lanes); }
  int lanes = 0;
};

namespace fast_gradient {

inline std::int64_t fours_of_group(const FilterBank& bank, int lanes, int group) {
  const std::int64_t first = std::int64_t{group} * lanes, last = std::min(first + lanes, bank.bands());
  std::int64_t widest = 0;
  for (std::int64_t b = first; b < last; ++b) {
    widest = std::max(widest, fast_bands::fours_of(bank.band()[static_cast<std::size_t>(b)]));
  }
  return widest;
}

}  // namespace fast_gradient

inline BandBins band_bins(const FilterBank& bank, int lanes) {
  BandBins shape;
  shape.lanes = lanes;
  shape.groups = static_cast<int>((bank.bands() + lanes - 1) / lanes);
  for (int group = 0; group < shape.groups; ++group) shape.fours += fast_gradient::fours_of_group(bank, lanes, group);
  shape.weights_at = (2 * std::int64_t{shape.groups} * lanes + 3) / 4 * 4;
  return shape;
}

// Zeros stand behind the last bin; squares: how many values of a frame there are, zeros included.
inline void fill_band_bins(const FilterBank& bank, const BandBins& shape, std::int64_t squares, void* table) {
  std::memset(table, 0, static_cast<std::size_t>(shape.bytes()));
  std::int32_t* range = static_cast<std::int32_t*>(table);
  float* weights = static_cast<float*>(table) + shape.weights_at;
  for (int group = 0; group < shape.groups; ++group) {
    const std::int64_t fours = fast_gradient::fours_of_group(bank, shape.lanes, group);
    for (std::int64_t lane = 0; lane < shape.lanes; ++lane, range += 2) {
      range[1] = static_cast<std::int32_t>(fours);
      const std::int64_t b = std::int64_t{group} * shape.lanes + lane;
      if (b >= bank.bands()) continue;
      const FilterBank::Band& band = bank.band()[static_cast<std::size_t>(b)];
      const std::int64_t first = std::min(fast_bands::even_first(band), (squares - 4 * fours) & ~std::int64_t{1});
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
