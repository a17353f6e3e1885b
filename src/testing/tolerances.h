// How far a kernel may be from the float64 reference: every bound of the C++ tests, each derived.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "melisma/tensor.h"

namespace melisma::testing {

// Rounding unit of the arithmetic that an operator uses on x: float64 for float64 input, float32 otherwise.
inline double unit(DType x) {
  const bool is_double = x == DType::kFloat64 || x == DType::kComplex128;
  return is_double ? std::numeric_limits<double>::epsilon()
                   : static_cast<double>(std::numeric_limits<float>::epsilon());
}

// Error of one transform's output for a frame of l2 norm 1. A radix-r pass rounds each value about log2(r) times, so
// the errors of log2(n) random roundings of size eps / 2 add up to eps sqrt(log2 n) of the norm, and the largest of
// many outputs is four or so times that; the window's rounding adds one eps. Bluestein in float64 is three transforms
// of up to 4 n, and the float64 reference has an error of the same kind: four times as much.
inline double transform_error(std::int64_t n_fft, double eps) {
  const double levels = std::log2(static_cast<double>(n_fft)) + 2.0;
  return (eps < 1e-12 ? 8.0 : 2.0) * eps * std::sqrt(levels);
}

// A bin in which most of the frame's energy lies is a sum of like values, rounded relative to itself in the last
// passes.
inline double peak_error(double bin, double eps) { return 2.0 * eps * bin; }

// Sums of non-negative terms in any order: the kernels add a band with at most a few partial sums of `count` terms.
inline double sum_error(std::int64_t count, double eps) { return eps * (2.0 + std::sqrt(static_cast<double>(count))); }

// Relative error of the SIMD logarithm and of x^p, as documented by Highway (ln: 3 ulp) plus the roundings around them.
inline double elementwise_error(double eps) { return 8.0 * eps; }

// Relative error of x^p = exp(p ln x), always computed in float64, for a result y: the rounding of p ln x is an
// absolute error of the exponent.
inline double power_error(double eps, double y) {
  const double exponent = y > 0.0 ? std::abs(std::log(y)) : 0.0;
  return elementwise_error(eps) + 2.0 * std::numeric_limits<double>::epsilon() * exponent;
}

}  // namespace melisma::testing
