// The roots of unity that twiddle factors and windows of cosines are made of.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "blocks/fft/plan.h"

namespace melisma {

// exp(-2 pi i j / n) for 0 <= j < n out of a table of its first octant, so that a large size touches few fresh pages;
// the whole circle where n is no multiple of 8.
class UnitCircle {
 public:
  // exact: each point to half a unit in the last place of float64. Else within 2 of them, which a table in float32 does
  // not see, by one product instead of a sine and a cosine: those were most of a large size's first call.
  UnitCircle(std::int64_t n, bool exact) : n_(n), first_(static_cast<std::size_t>(n % 8 == 0 ? n / 8 + 1 : n)) {
    const std::size_t near = exact ? first_.size() : std::min<std::size_t>(first_.size(), kNear);
    for (std::size_t j = 0; j < near; ++j) first_[j] = twiddle(static_cast<std::int64_t>(j), n);
    for (std::size_t start = near; start < first_.size(); start += near) {
      const Twiddle a = twiddle(static_cast<std::int64_t>(start), n);
      for (std::size_t j = 0, count = std::min(near, first_.size() - start); j < count; ++j) {
        const Twiddle& b = first_[j];
        first_[start + j] = {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
      }
    }
  }

  Twiddle operator()(std::int64_t j) const {
    if (n_ % 8 != 0) return first_[static_cast<std::size_t>(j)];
    const std::int64_t a_quarter = n_ / 4;
    const int quarter = (j >= a_quarter ? 1 : 0) + (j >= 2 * a_quarter ? 1 : 0) + (j >= 3 * a_quarter ? 1 : 0);
    const std::int64_t rest = j - quarter * a_quarter;
    const bool mirrored = rest > n_ / 8;  // at the angle pi/4: cos and sin change places
    const Twiddle& a = first_[static_cast<std::size_t>(mirrored ? a_quarter - rest : rest)];
    const double re = mirrored ? -a.im : a.re, im = mirrored ? -a.re : a.im;
    switch (quarter) {  // times (-i)^quarter
      case 0: return {re, im};
      case 1: return {im, -re};
      case 2: return {-re, -im};
      default: return {-im, re};
    }
  }

 private:
  static constexpr std::size_t kNear = 128;  // about the root of the largest octants

  std::int64_t n_;
  std::vector<Twiddle> first_;
};

}  // namespace melisma
