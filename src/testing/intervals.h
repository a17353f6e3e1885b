// Bounds that are carried through the steps of a spectrogram: where each exact value lies, given how exact the parts
// are.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "melisma/filtered_spectrogram.h"
#include "testing/array.h"
#include "testing/tolerances.h"

namespace melisma::testing {

struct Interval {
  double low, high;
};

inline Interval widened(Interval v, double relative) {
  return {v.low - relative * std::abs(v.low), v.high + relative * std::abs(v.high)};
}

// |X|^power in frame-major order, [items][frames][bins].
inline std::vector<Interval> spectrogram_intervals(const Tensor& x, const Tensor* window,
                                                   const SpectrogramParams& params) {
  SpectrogramParams exact = params;
  exact.power = 1.0;
  exact.nyquist = true;
  exact.layout = Layout::kFrameMajor;
  const Array magnitude(DType::kFloat64, spectrogram_shape(x, exact));
  spectrogram_reference(x, window, exact, magnitude);
  const std::int64_t n_fft = params.frames.n_fft, all = n_fft / 2 + 1, bins = params.nyquist ? all : all - 1;
  const double eps = unit(x.dtype);
  std::vector<Interval> result;
  for (std::int64_t row = 0; row < magnitude.numel() / all; ++row) {
    double energy = 0.0;
    for (std::int64_t k = 0; k < all; ++k) energy += 2.0 * std::norm(magnitude.get(row * all + k));
    const double error = std::sqrt(energy / static_cast<double>(n_fft)) * transform_error(n_fft, eps);
    for (std::int64_t k = 0; k < bins; ++k) {
      const double m = magnitude.get(row * all + k).real();
      const double off = error + peak_error(m, eps);
      const Interval power{std::pow(std::max(m - off, 0.0), params.power), std::pow(m + off, params.power)};
      result.push_back(widened(power, elementwise_error(eps) * std::max(1.0, params.power)));
    }
  }
  return result;
}

inline double log_of(double v, const LogParams& log) {
  return log.scale * std::log(std::max(log.mul * v + log.add, log.floor)) + log.offset;
}

// All steps of filtered_spectrogram, [items][frames][bands]; needs mul >= 0, weights of any sign.
inline std::vector<Interval> filtered_intervals(const Tensor& x, const Tensor* window, const FilterBank& bank,
                                                const FilteredSpectrogramParams& params) {
  const std::vector<Interval> power = spectrogram_intervals(x, window, params.spectrogram);
  const std::int64_t bins = bank.bins(), rows = static_cast<std::int64_t>(power.size()) / bins;
  const double eps = unit(x.dtype);
  const LogParams& log = params.log;
  std::vector<Interval> y;
  for (std::int64_t row = 0; row < rows; ++row) {
    for (const FilterBank::Band& band : bank.band()) {
      Interval v{0.0, 0.0};
      double magnitude = 0.0;
      for (std::int64_t i = 0; i < band.count; ++i) {
        const double w = bank.weights()[static_cast<std::size_t>(band.offset + i)];
        const Interval p = power[static_cast<std::size_t>(row * bins + band.first_bin + i)];
        v.low += w * (w >= 0 ? p.low : p.high);
        v.high += w * (w >= 0 ? p.high : p.low);
        magnitude += std::abs(w) * p.high;
      }
      const double rounding = magnitude * (sum_error(band.count, eps) + eps);  // + eps: the weights' own rounding
      v = {v.low - rounding, v.high + rounding};
      if (log.enabled) {
        // mul v + add and ref's offset round relative to their largest part, the logarithm relative to its value.
        const double inner = eps * (std::abs(log.mul) * magnitude + std::abs(log.add));
        LogParams low = log, high = log;
        low.add -= inner;
        high.add += inner;
        const Interval exact{log_of(v.low, low), log_of(v.high, high)};
        const auto slack = [&](double value) {
          return elementwise_error(eps) * (std::abs(value) + std::abs(log.offset) + std::abs(log.scale));
        };
        v = {exact.low - slack(exact.low), exact.high + slack(exact.high)};
      }
      y.push_back(v);
    }
  }
  if (std::isfinite(log.top) && !y.empty()) {
    const bool packed = log.top_scope == TopScope::kPacked && x.ndim() > 1;
    std::int64_t items = 1;
    for (int axis = 0; axis + 1 < x.ndim(); ++axis) items *= x.size(axis);
    const std::size_t item = y.size() / static_cast<std::size_t>(items);
    const std::size_t group = packed ? item * static_cast<std::size_t>(x.size(-2)) : item;
    for (std::size_t first = 0; first < y.size(); first += group) {
      Interval most = y[first];
      for (std::size_t i = first; i < first + group; ++i) {
        most = {std::max(most.low, y[i].low), std::max(most.high, y[i].high)};
      }
      const Interval least = {most.low - log.top - eps * std::abs(most.low),
                              most.high - log.top + eps * std::abs(most.high)};
      for (std::size_t i = first; i < first + group; ++i) {
        y[i] = {std::max(y[i].low, least.low), std::max(y[i].high, least.high)};
      }
    }
  }
  for (Interval& v : y) {
    const double a = log.post_mul * v.low + log.post_add, b = log.post_mul * v.high + log.post_add;
    const double slack =
        2 * eps * (std::abs(log.post_mul) * std::max(std::abs(v.low), std::abs(v.high)) + std::abs(log.post_add));
    v = {std::min(a, b) - slack, std::max(a, b) + slack};
  }
  return y;
}

// out, of either layout, lies in the intervals.
inline void expect_inside(const Array& out, Layout layout, const std::vector<Interval>& bounds,
                          const std::string& what) {
  const bool frame_major = layout == Layout::kFrameMajor;
  const std::int64_t rows = out.tensor().size(frame_major ? -1 : -2), frames = out.tensor().size(frame_major ? -2 : -1);
  ASSERT_EQ(out.numel(), static_cast<std::int64_t>(bounds.size())) << what;
  for (std::int64_t i = 0; i < out.numel(); ++i) {
    const std::int64_t k = i % rows, t = i / rows % frames, item = i / rows / frames;
    const double got = out.get(frame_major ? i : (item * rows + k) * frames + t).real();
    const Interval& want = bounds[static_cast<std::size_t>(i)];
    ASSERT_TRUE(got >= want.low && got <= want.high)
        << what << ": " << got << " is not in [" << want.low << ", " << want.high << "], item " << item << " frame "
        << t << " row " << k;
  }
}

}  // namespace melisma::testing
