// What becomes of a spectrum: its bins as the result wants them, powers, bands, logarithms.
#pragma once

#include "blocks/gpu/frame_transform-kernel.h"

namespace melisma::gpu {

// How bins of real frames are written; RealBins.
enum RealBinsMode { kRealHalf, kRealBoth, kRealAdjoint };

// Bin k of the result.
template <typename T, typename Values>
MEL_FN Complex<T> result_bin(MEL_ARGS(FrameTransform<T>) transform, int mode, Values z, int k) {
  const int n_fft = transform.n_fft;
  if (transform.complex_input != 0 || 2 * k <= n_fft) {
    const Complex<T> value = spectrum_bin<T>(transform, z, k);
    const bool edge = k == 0 || 2 * k == n_fft;
    if (mode != kRealAdjoint || transform.complex_input != 0 || !edge) return value;
    return Complex<T>{value.re * T(0.5f), T(0)};
  }
  if (mode == kRealAdjoint) return Complex<T>{T(0), T(0)};
  return conj(spectrum_bin<T>(transform, z, n_fft - k));
}

template <typename T>
struct PowerArgs {
  T half;    // of the power
  int kind;  // the power where it is 1 or 2, else 0
};

// |value|^power from the square, as on the CPU: magnitudes whose square underflows are 0.
template <typename T>
MEL_FN T power_of(MEL_ARGS(PowerArgs<T>) power, Complex<T> value) {
  const T square = mel_fma(value.re, value.re, value.im * value.im);
  if (power.kind == 2) return square;
  if (power.kind == 1) return mel_sqrt(square);
  return square == T(0) ? square : mel_pow(square, power.half);
}

struct BandRange {
  std::int32_t first, count;  // bins
};

// The matrix of a filter bank.
struct BankArgs {
  MEL_GLOBAL(const void) weights;
  MEL_GLOBAL(const BandRange) ranges;  // of the weights that are not zero; null: not known
  std::int64_t bin_stride, band_stride;
  int bins, bands, type;
};

template <typename T>
MEL_FN T bank_weight(MEL_ARGS(BankArgs) bank, int bin, int band) {
  return load_real<T>(bank.weights, bank.type, bin * bank.bin_stride + band * bank.band_stride);
}

// A band of the powers in device memory, by the lanes of a warp; all of them get it.
template <typename T>
MEL_FN T warp_band_sum(MEL_THREAD_ARG t, MEL_ARGS(BankArgs) bank, MEL_GLOBAL(const T) powers, int band) {
  const bool known = bank.ranges != nullptr;
  const int first = known ? bank.ranges[band].first : 0;
  const int end = known ? first + bank.ranges[band].count : bank.bins;
  T sum = T(0);
  for (int k = first + t.lane(); k < end; k += 32) {
    const T weight = bank_weight<T>(bank, k, band);
    if (weight != T(0)) sum = mel_fma(weight, powers[k], sum);
  }
  for (int mask = 16; mask > 0; mask /= 2) sum = sum + t.shuffle_xor(sum, mask);
  return sum;
}

template <typename T>
struct LogArgs {
  T scale, mul, add, floor, offset;
  T post_mul, post_add;  // 1 and 0 where a second launch does it
  int enabled;
};

// NaN stays NaN.
template <typename T>
MEL_FN T logarithm(MEL_ARGS(LogArgs<T>) log, T value) {
  if (log.enabled != 0) {
    const T argument = mel_fma(log.mul, value, log.add);
    value = mel_fma(log.scale, mel_log(argument < log.floor ? log.floor : argument), log.offset);
  }
  return mel_fma(log.post_mul, value, log.post_add);
}

}  // namespace melisma::gpu
