// The factorisation of a transform size and its twiddle factors: one for all backends.
//
// A complex transform of size n = r_0 r_1 ... is a sequence of decimation-in-frequency passes. Pass l works on blocks
// of n_l = n / (r_0 ... r_{l-1}) values: with m = n_l / r_l, outputs k = 0..r-1 of the butterfly over x[j + i m] are
// multiplied by exp(-2 pi i j k / n_l) and go to block k. Kernels either leave them in place (`position` tells where
// output k ended up) or reorder while storing (Stockham).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/aligned.h"

namespace melisma {

// exp(-2 pi i numerator / denominator) rounded once from float64 arithmetic on an angle below pi/4.
struct Twiddle {
  double re, im;
};
Twiddle twiddle(std::int64_t numerator, std::int64_t denominator);

// The radices that kernels have butterflies for. A size with a larger prime factor goes through Bluestein.
inline constexpr int kRadices[] = {2, 3, 4, 5, 7, 8, 11, 13, 16};
inline constexpr std::int64_t kLargestPrime = 13;

bool is_smooth(std::int64_t n);  // no prime factor above kLargestPrime

// The radix of the first pass over n smooth values: eights, what is left of the twos in fours before them (a pass with
// a radix of 2 costs the memory traffic of one of 8), then the odd primes from the largest down. 0 for n = 1.
constexpr int next_radix(std::int64_t n) {
  int twos = 0;
  std::int64_t odd = n;
  for (; odd % 2 == 0; odd /= 2) ++twos;
  if (twos == 1) return 2;
  if (twos > 0) return twos % 3 == 0 ? 8 : 4;
  for (int prime : {13, 11, 7, 5, 3}) {
    if (odd % prime == 0) return prime;
  }
  return 0;
}

// Radices with product n, n smooth. first > 0: the first radix, which must divide n.
std::vector<int> factorise(std::int64_t n, int first);

// Whether float32 samples are transformed in float64: where Bluestein's two convolutions would cost accuracy, and for
// small sizes, whose few butterflies cost less than their loads and stores.
inline constexpr std::int64_t kLargestSmallSize = 128;
bool computes_in_float64(std::int64_t n_fft, bool complex_input);

// The smallest cheap smooth size >= n for Bluestein's convolution.
std::int64_t convolution_size(std::int64_t n);

template <typename T>
struct FftPass {
  int radix;
  std::int64_t block;      // n_l
  std::int64_t sub_block;  // m = n_l / radix
  const T* twiddles;       // [m][radix - 1][2]: re, im of exp(-2 pi i j k / n_l) for k = 1..radix-1
};

// Immutable once made.
template <typename T>
struct FftPlan {
  std::int64_t n = 0;
  std::vector<FftPass<T>> passes;
  std::vector<std::int32_t> position;  // where an in-place transform leaves output k
  AlignedVector<T> storage;
};

// Cached for the life of the process, by (n, first); n must be smooth.
template <typename T>
std::shared_ptr<const FftPlan<T>> fft_plan(std::int64_t n, int first);

// For one frame across `lanes` lanes: the first radix is `lanes`, and its twiddles are vectors. Large sizes are planned
// in the time of their page faults, so nothing stands here that no kernel reads.
template <typename T>
struct RowsPlan {
  FftPlan<T> fft;                   // without twiddles of the first pass and without positions
  AlignedVector<T> first_twiddles;  // [blocks of p][lanes - 1][2][lanes]; the last block ends at m - 1
};
template <typename T>
std::shared_ptr<const RowsPlan<T>> rows_plan(std::int64_t n, int lanes);

// exp(-2 pi i k / n) for k = 0..n/4, for packing n real values as n/2 complex ones. Cached.
template <typename T>
struct RealTwiddles {
  AlignedVector<T> re, im;
};
template <typename T>
std::shared_ptr<const RealTwiddles<T>> real_twiddles(std::int64_t n);

// Bluestein: X[k] = c[k] sum_j (x[j] c[j]) conj(c[k-j]) with c[j] = exp(-pi i j^2 / n), the sum being a cyclic
// convolution of size m >= 2 n - 1.
template <typename T>
struct BluesteinPlan {
  std::int64_t n = 0;
  std::shared_ptr<const FftPlan<T>> convolution;
  AlignedVector<T> chirp_re, chirp_im;    // c[j]
  AlignedVector<T> filter_re, filter_im;  // transform of conj(c), over m, by output index, divided by m
};
template <typename T>
std::shared_ptr<const BluesteinPlan<T>> bluestein_plan(std::int64_t n);

}  // namespace melisma
