// The tables of block_fft-kernel.h.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "blocks/fft/plan.h"
#include "blocks/gpu/block_fft-kernel.h"
#include "runtime/gpu/runner.h"

namespace melisma::gpu {

// float64 butterflies of 16 would spill.
template <typename T>
constexpr int kLargestTwos = sizeof(T) == 4 ? 4 : 3;

// Radices with product n, n smooth: the odd primes, then as few and as equal powers of two as there can be.
template <typename T>
std::vector<int> block_radices(std::int64_t n) {
  std::vector<int> radices;
  for (int prime : {13, 11, 7, 5, 3}) {
    for (; n % prime == 0; n /= prime) radices.push_back(prime);
  }
  int twos = 0;
  while ((std::int64_t{1} << twos) < n) ++twos;
  for (int passes = (twos + kLargestTwos<T> - 1) / kLargestTwos<T>; passes > 0; --passes) {
    const int here = (twos + passes - 1) / passes;
    radices.push_back(1 << here);
    twos -= here;
  }
  return radices;
}

// The size of the passes: n, or Bluestein's convolution.
inline std::int64_t block_transform(std::int64_t n) { return is_smooth(n) ? n : convolution_size(2 * n - 1); }

// BlockFft::size: with the padding between passes, and odd, so that the same value of neighbouring frames lies in
// different banks.
template <typename T>
std::int64_t block_fft_size(std::int64_t n) {
  const std::int64_t values = block_transform(n);
  return (values + (values >> BankShift<T>::kValue)) | 1;
}

template <typename T>
Complex<T> rounded(const Twiddle& w) {
  return {static_cast<T>(w.re), static_cast<T>(w.im)};
}

template <typename T, class Runner, class Value>
const Complex<T>* complex_table(const char* kind, std::int64_t n, std::int64_t count, Runner& runner, Value value) {
  if (count == 0) return nullptr;
  const auto fill = [&](void* to) {
    for (std::int64_t i = 0; i < count; ++i) static_cast<Complex<T>*>(to)[i] = value(i);
  };
  return static_cast<const Complex<T>*>(runner.table(TableKey{kind, n, static_cast<std::int64_t>(sizeof(T))},
                                                     static_cast<std::size_t>(count) * sizeof(Complex<T>), fill));
}

template <typename T>
void fill_twiddles(const std::vector<int>& radices, Complex<T>* to) {
  std::int64_t done = 1;
  for (const int radix : radices) {
    for (std::int64_t q = 1; q < radix; ++q) {
      for (std::int64_t k = 0; k < done; ++k) *to++ = rounded<T>(twiddle(q * k, done * radix));
    }
    done *= radix;
  }
}

// exp(-2 pi i k / n) for k = 0 .. n / 2: what splits the transform of n real values packed as n / 2 complex ones.
template <typename T, class Runner>
const Complex<T>* make_real_twiddles(std::int64_t n, Runner& runner) {
  return complex_table<T>("real_twiddles", n, n / 2 + 1, runner,
                          [n](std::int64_t k) { return rounded<T>(twiddle(k, n)); });
}

// The tables of a transform of fft.n through one of fft.transform.
template <typename T, class Runner>
void set_bluestein(BlockFft<T>& fft, Runner& runner) {
  const std::int64_t n = fft.n, transform = fft.transform;
  fft.bluestein = 1;
  fft.chirp = complex_table<T>("bluestein_chirp", n, n, runner,
                               [n](std::int64_t j) { return rounded<T>(twiddle(j * j % (2 * n), 2 * n)); });
  fft.filter =
      complex_table<T>("bluestein_filter", n, transform, runner, [plan = bluestein_plan<double>(n)](std::int64_t k) {
        const std::size_t i = static_cast<std::size_t>(k);
        return rounded<T>({plan->filter_re[i], plan->filter_im[i]});
      });
}

// n such that 2 size complex values fit in shared memory.
template <typename T, class Runner>
BlockFft<T> make_block_fft(std::int64_t n, Runner& runner) {
  const std::int64_t transform = block_transform(n);
  const std::vector<int> radices = block_radices<T>(transform);
  BlockFft<T> fft{};
  fft.n = static_cast<int>(n);
  fft.transform = static_cast<int>(transform);
  fft.size = static_cast<int>(block_fft_size<T>(n));
  fft.passes = static_cast<int>(radices.size());
  const auto inverse = [](std::int64_t divisor) {
    return divisor == 1 ? 0u
                        : static_cast<std::uint32_t>((std::uint64_t{1} << 32) / static_cast<std::uint64_t>(divisor)) +
                              ((std::uint64_t{1} << 32) % static_cast<std::uint64_t>(divisor) != 0 ? 1u : 0u);
  };
  std::int64_t done = 1;
  for (std::size_t pass = 0; pass < radices.size(); ++pass) {
    fft.radix[pass] = radices[pass];
    fft.inverse_count[pass] = inverse(transform / radices[pass]);
    fft.inverse_done[pass] = inverse(done);
    done *= radices[pass];
  }
  if (transform > 1) {
    fft.twiddles = static_cast<const Complex<T>*>(
        runner.table(TableKey{"block_fft", transform, static_cast<std::int64_t>(sizeof(T))},
                     static_cast<std::size_t>(transform - 1) * sizeof(Complex<T>),
                     [&](void* to) { fill_twiddles(radices, static_cast<Complex<T>*>(to)); }));
  }
  if (transform != n) set_bluestein(fft, runner);
  return fft;
}

}  // namespace melisma::gpu
