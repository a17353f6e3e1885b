// From the spectra of a signal's frames, in shared memory, to the gradient with respect to them, given the gradient
// with respect to |X|^power or to the bands of a filter bank over it.
#pragma once

#include "blocks/gpu/forward_epilogue-kernel.h"
#include "blocks/gpu/inverse_frames-kernel.h"

namespace melisma::gpu {

// (|X|^2)^exponent, exponent = power / 2 - 1, the float64 in two parts where T is float; 0 where |X|^2 < least, the
// smallest normal number. Powers 1 and 2 as PowerArgs::kind says.
template <typename T>
struct PowerSlopeArgs {
  T exponent, exponent_low, least;
};

// ln(max(mul * v + add, floor)) times a constant.
template <typename T>
struct LogSlopeArgs {
  int enabled;
  T slope, mul, add, floor;  // slope: that of the constant times mul
};

template <typename T>
struct GradientArgs {
  SignalArgs x;
  GridArgs grad;
  T gain;  // of grad; half of it all, for the inverse transform doubles what is no edge
  PowerArgs<T> power;
  PowerSlopeArgs<T> slope;
  int bins;        // with a gradient; those above have none
  int with_bands;  // grad is of the bank's bands; else bank.bands is 0
  BankArgs bank;
  MEL_GLOBAL(const BandRange) bands_of_bin;  // the bands that a bin has weights in; null: not known
  LogSlopeArgs<T> log;
};

// Values in shared memory for `frames` frames: the bands' gradients, and the magnitudes where the bands are needed.
template <typename T>
MEL_HOST_FN std::int64_t gradient_values(MEL_ARGS(GradientArgs<T>) args, std::int64_t frames) {
  if (args.with_bands == 0) return 0;
  return frames * (args.bank.bands + (args.log.enabled != 0 ? args.bank.bins : 0));
}

template <typename T>
MEL_FN T power_slope(MEL_ARGS(GradientArgs<T>) args, Complex<T> x) {
  if (args.power.kind == 2) return T(1);
  const T square = mel_fma(x.re, x.re, x.im * x.im);
  if (square < args.slope.least) return T(0);
  if (args.power.kind == 1) return T(1) / mel_sqrt(square);
  const T y = mel_pow(square, args.slope.exponent);
  if (args.slope.exponent_low == T(0) || !(y > T(0)) || y - y != T(0)) return y;
  return mel_fma(y, args.slope.exponent_low * mel_log(square), y);
}

// |X|^power [count][bank.bins] of the frames.
template <typename T>
MEL_FN void store_powers(MEL_THREAD_ARG t, MEL_ARGS(FrameTransform<T>) transform, MEL_ARGS(GradientArgs<T>) args,
                         int count, MEL_SHARED(const Complex<T>) frames, MEL_SHARED(T) powers) {
  const int bins = args.bank.bins;
  for (int i = t.thread(); i < bins * count; i += t.threads()) {
    const int f = i / bins, k = i % bins;
    powers[i] = power_of<T>(args.power, spectrum_bin<T>(transform, frames + f * transform.fft.size, k));
  }
}

template <typename T>
MEL_FN T band_value(MEL_ARGS(BankArgs) bank, int b, MEL_SHARED(const T) powers) {
  const int first = bank.ranges != nullptr ? bank.ranges[b].first : 0;
  const int end = bank.ranges != nullptr ? first + bank.ranges[b].count : bank.bins;
  T sum = T(0);
  for (int k = first; k < end; ++k) {
    const T weight = bank_weight<T>(bank, k, b);
    if (weight != T(0)) sum = mel_fma(weight, powers[k], sum);
  }
  return sum;
}

template <typename T>
MEL_FN T log_gradient(MEL_ARGS(LogSlopeArgs<T>) log, T grad, T band) {
  const T argument = mel_fma(log.mul, band, log.add);
  return argument <= log.floor ? T(0) : grad * (log.slope / argument);
}

// Gradients [count][bands] with respect to the bands before the logarithm.
template <typename T>
MEL_FN void store_band_gradients(MEL_THREAD_ARG t, MEL_ARGS(GradientArgs<T>) args, std::int64_t grad_at,
                                 std::int64_t first, int count, MEL_SHARED(const T) powers, MEL_SHARED(T) bands) {
  const int all = args.bank.bands;
  const bool across = frames_are_contiguous(args.grad);
  for (int i = t.thread(); i < all * count; i += t.threads()) {
    const int b = across ? i / count : i % all, f = across ? i % count : i / all;
    const std::int64_t at = grad_at + (first + f) * args.grad.frame_stride + b * args.grad.bin_stride;
    T value = args.gain * load_real<T>(args.grad.data, args.grad.type, at);
    if (args.log.enabled != 0) {
      value = log_gradient(args.log, value, band_value<T>(args.bank, b, powers + f * args.bank.bins));
    }
    bands[f * all + b] = value;
  }
}

// Half of dL/dX_k, all of it where X_k is an edge; at: elements of grad to the frame's bin 0; bands: its bands'
// gradients, a pointer to T in any address space.
template <typename T, typename Values>
MEL_FN Complex<T> bin_gradient(MEL_ARGS(GradientArgs<T>) args, int n_fft, std::int64_t at, Values bands, int k,
                               Complex<T> x) {
  if (k >= args.bins) return Complex<T>{T(0), T(0)};
  T factor = T(0);
  if (args.with_bands != 0) {
    const int first = args.bands_of_bin != nullptr ? args.bands_of_bin[k].first : 0;
    const int end = args.bands_of_bin != nullptr ? first + args.bands_of_bin[k].count : args.bank.bands;
    for (int b = first; b < end; ++b) {
      const T weight = bank_weight<T>(args.bank, k, b);
      if (weight != T(0)) factor = mel_fma(weight, bands[b], factor);
    }
  } else {
    factor = args.gain * load_real<T>(args.grad.data, args.grad.type, at + k * args.grad.bin_stride);
  }
  factor = factor * power_slope(args, x);
  if (k == 0 || 2 * k == n_fft) return Complex<T>{T(2) * factor * x.re, T(0)};
  return x * factor;
}

// Frames' transforms, in place, to what an inverse transform takes. scratch: gradient_values.
template <typename T>
MEL_FN void spectra_to_gradients(MEL_THREAD_ARG t, MEL_ARGS(FrameTransform<T>) transform,
                                 MEL_ARGS(GradientArgs<T>) args, std::int64_t grad_at, std::int64_t first, int count,
                                 MEL_SHARED(Complex<T>) frames, MEL_SHARED(T) scratch) {
  const int n = transform.n_fft, pairs = bin_pairs(transform), bands = args.bank.bands;
  MEL_SHARED(T) powers = scratch + count * bands;
  if (args.with_bands != 0) {
    if (args.log.enabled != 0) {
      store_powers<T>(t, transform, args, count, frames, powers);
      t.sync();
    }
    store_band_gradients<T>(t, args, grad_at, first, count, powers, scratch);
    t.sync();
  }
  const bool across = frames_are_contiguous(args.grad);
  for (int i = t.thread(); i < pairs * count; i += t.threads()) {
    const int k = across ? i / count : i % pairs, f = across ? i % count : i / pairs;
    const std::int64_t at = grad_at + (first + f) * args.grad.frame_stride;
    MEL_SHARED(Complex<T>) frame = frames + f * transform.fft.size;
    MEL_SHARED(const T) band_gradients = scratch + f * bands;
    const int mirrored = is_packed(transform) ? n / 2 - k : k;
    const Complex<T> low = spectrum_bin<T>(transform, frame, k), high = spectrum_bin<T>(transform, frame, mirrored);
    store_pair(transform, frame, k, bin_gradient<T>(args, n, at, band_gradients, k, low),
               bin_gradient<T>(args, n, at, band_gradients, mirrored, high));
  }
}

}  // namespace melisma::gpu
