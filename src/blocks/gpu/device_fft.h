// The plan and the launches of device_fft-kernel.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "blocks/gpu/block_fft.h"
#include "blocks/gpu/device_fft-kernel.h"

namespace melisma::gpu {

// A block takes so many columns where it can: as many neighbours in memory as make a sector of 32 bytes and more.
inline constexpr std::int64_t kFftColumns = 8;
// No longer columns than this: beyond, a third pass costs less than the blocks that do not fit beside each other.
inline constexpr std::int64_t kLargestRadix = 1024;

template <typename T>
std::int64_t column_bytes(std::int64_t radix) {
  return 2 * block_fft_size<T>(radix) * static_cast<std::int64_t>(sizeof(Complex<T>));
}

template <typename T>
std::int64_t largest_device_radix(std::int64_t shared_limit) {
  std::int64_t radix = kLargestRadix;
  while (radix > 16 && 4 * column_bytes<T>(radix) > shared_limit) radix /= 2;
  return radix;
}

// Smooth n as the fewest factors of at most `largest`, as equal as they come; empty: not with so many.
inline std::vector<int> split_into(std::int64_t n, int factors, std::int64_t largest) {
  if (factors == 1) return n <= largest ? std::vector<int>{static_cast<int>(n)} : std::vector<int>{};
  const double target = std::pow(static_cast<double>(n), 1.0 / factors);
  std::vector<std::int64_t> divisors;
  for (std::int64_t d = 1; d <= std::min(n, largest); ++d) {
    if (n % d == 0) divisors.push_back(d);
  }
  std::sort(divisors.begin(), divisors.end(), [target](std::int64_t a, std::int64_t b) {
    const auto distance = [target](std::int64_t d) { return std::abs(std::log(static_cast<double>(d) / target)); };
    return distance(a) < distance(b);
  });
  for (const std::int64_t d : divisors) {
    std::vector<int> rest = split_into(n / d, factors - 1, largest);
    if (rest.empty()) continue;
    rest.push_back(static_cast<int>(d));
    return rest;
  }
  return {};
}

inline std::vector<int> device_radices(std::int64_t n, std::int64_t largest) {
  for (int factors = 1;; ++factors) {
    std::vector<int> result = split_into(n, factors, largest);
    if (!result.empty()) return result;
  }
}

template <typename T>
struct DeviceFft {
  std::int64_t n = 0, transform = 0;  // transform: values between frames, n or Bluestein's convolution
  BlockFft<T> bluestein{};            // its tables
  std::vector<BlockFft<T>> radices;
  const Complex<T>* coarse = nullptr;
  const Complex<T>* fine = nullptr;
  int shift = 0;
};

template <typename T, class Runner>
DeviceFft<T> make_device_fft(std::int64_t n, Runner& runner) {
  DeviceFft<T> fft;
  fft.n = n;
  fft.transform = block_transform(n);
  const std::int64_t transform = fft.transform;
  for (const int radix : device_radices(transform, largest_device_radix<T>(runner.shared_limit()))) {
    fft.radices.push_back(make_block_fft<T>(radix, runner));
  }
  while ((transform >> (2 * fft.shift)) > 1) ++fft.shift;
  const std::int64_t step = std::int64_t{1} << fft.shift;
  fft.fine = complex_table<T>("fine_twiddles", transform, step, runner,
                              [transform](std::int64_t e) { return rounded<T>(twiddle(e, transform)); });
  fft.coarse = complex_table<T>("coarse_twiddles", transform, ((transform - 1) >> fft.shift) + 1, runner,
                                [transform, step](std::int64_t e) { return rounded<T>(twiddle(e * step, transform)); });
  fft.bluestein.n = static_cast<int>(n);
  fft.bluestein.transform = static_cast<int>(transform);
  if (transform != n) set_bluestein(fft.bluestein, runner);
  return fft;
}

template <typename T, class Runner>
void bluestein_launch(const DeviceFft<T>& fft, BluesteinStage stage, Complex<T>* values, std::int64_t frames,
                      Runner& runner) {
  using Kernel = DeviceBluestein<T>;
  const std::int64_t tiles = (fft.transform + Kernel::kTile - 1) / Kernel::kTile;
  runner.template launch<Kernel>(std::min(frames * tiles, runner.template resident_blocks<Kernel>(0)), 0,
                                 {fft.bluestein, values, frames, tiles, stage});
}

// Transforms the n values at a + f * fft.transform for f = 0 .. frames - 1; b is as large. Returns a or b, where the
// results lie likewise.
template <typename T, class Runner>
Complex<T>* device_fft(const DeviceFft<T>& fft, Complex<T>* a, Complex<T>* b, std::int64_t frames, Runner& runner) {
  using Kernel = DeviceFftPass<T>;
  const bool bluestein = fft.transform != fft.n;
  for (int round = 0; round < (bluestein ? 2 : 1); ++round) {
    if (bluestein) bluestein_launch(fft, round == 0 ? kChirp : kConvolve, a, frames, runner);
    int done = 1;
    for (const BlockFft<T>& radix : fft.radices) {
      const std::int64_t columns = fft.transform / radix.n, bytes = column_bytes<T>(radix.n);
      const std::int64_t together = std::min({kFftColumns, columns, runner.shared_limit() / bytes});
      const std::int64_t groups = (columns + together - 1) / together;
      const typename Kernel::Args args{radix,         a,      b,      fft.coarse, fft.fine,
                                       fft.transform, frames, groups, done,       static_cast<int>(together),
                                       fft.shift};
      runner.template launch<Kernel>(
          std::min(frames * groups, runner.template resident_blocks<Kernel>(together * bytes)), together * bytes, args);
      done *= radix.n;
      std::swap(a, b);
    }
  }
  if (bluestein) bluestein_launch(fft, kUnchirp, a, frames, runner);
  return a;
}

}  // namespace melisma::gpu
