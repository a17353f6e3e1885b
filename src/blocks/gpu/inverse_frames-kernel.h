// Frames of a spectrum, given in memory or computed again from a signal and a gradient, inverse-transformed in shared
// memory: what overlap-add and the window's gradient start from.
#pragma once

#include "blocks/gpu/frame_transform-kernel.h"
#include "blocks/gpu/wide-kernel.h"

namespace melisma::gpu {

// The whole numbers of samples that frames are apart, at least and at most.
struct HopBounds {
  std::int64_t floor, ceil;
};

// The first frame that ends after `sample`, and the last one that starts before it; -1 where there is none.
MEL_FN std::int64_t first_frame(MEL_ARGS(FramingArgs) framing, MEL_ARGS(HopBounds) hop, std::int64_t sample) {
  const std::int64_t at = sample + framing.offset - framing.n_fft;  // frames that start after it
  if (at < 0) return 0;
  std::int64_t low = at / hop.ceil, high = at / hop.floor + 1;
  while (low < high) {
    const std::int64_t middle = (low + high) / 2;
    if (frame_start(framing, middle) + framing.n_fft > sample) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}
MEL_FN std::int64_t last_frame(MEL_ARGS(FramingArgs) framing, MEL_ARGS(HopBounds) hop, std::int64_t sample) {
  const std::int64_t at = sample - 1 + framing.offset;
  if (at < 0) return -1;
  std::int64_t low = at / hop.ceil, high = at / hop.floor + 1;
  while (low < high) {
    const std::int64_t middle = (low + high + 1) / 2;
    if (frame_start(framing, middle) < sample) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return mel_min(low, framing.frames - 1);
}

enum SpectrumBins { kSpectrumHalf, kSpectrumNoNyquist, kSpectrumFolded, kSpectrumAll };

// A spectrum in memory.
template <typename T>
struct SpectrumArgs {
  GridArgs grid;
  T edge_bins;  // factor on DC and Nyquist of real frames
  int bins;     // SpectrumBins
};

MEL_FN bool frames_are_contiguous(MEL_ARGS(GridArgs) grid) {
  return mel_abs(grid.frame_stride) < mel_abs(grid.bin_stride);
}

template <typename T>
MEL_FN Complex<T> swapped(Complex<T> a) {
  return Complex<T>{a.im, a.re};
}

// Bin k <= n_fft / 2 of a real frame's spectrum, or k < n_fft of a complex one's; at: elements to the frame's bin 0.
template <typename T>
MEL_FN Complex<T> spectrum_value(MEL_ARGS(SpectrumArgs<T>) spectrum, int n_fft, std::int64_t at, int k) {
  const bool edge = k == 0 || 2 * k == n_fft;
  if (spectrum.bins == kSpectrumNoNyquist && 2 * k == n_fft) return Complex<T>{T(0), T(0)};
  const std::int64_t stride = spectrum.grid.bin_stride;
  Complex<T> value = load_complex<T>(spectrum.grid.data, spectrum.grid.type, at + k * stride);
  if (spectrum.bins == kSpectrumAll) return value;
  if (edge) return Complex<T>{spectrum.edge_bins * value.re, T(0)};
  if (spectrum.bins == kSpectrumFolded) {
    value = value + conj(load_complex<T>(spectrum.grid.data, spectrum.grid.type, at + (n_fft - k) * stride));
  }
  return value;
}

// Values k and m - k, m = n_fft / 2, of the transform that gives two real samples a value, from bins k and m - k and
// exp(-2 pi i k / n_fft). Real and imaginary parts change places before and after a forward transform: that makes it an
// inverse one. Values: a pointer to Complex<T> in any address space.
template <typename T, typename Values>
MEL_FN void pack_pair(Values frame, int k, int m, Complex<T> low, Complex<T> high, Complex<T> twiddle) {
  const Complex<T> even = low + conj(high), odd = (low - conj(high)) * conj(twiddle);
  const Complex<T> turned_odd{-odd.im, odd.re};
  frame[k] = swapped(even + turned_odd);
  if (k > 0 && k < m - k) frame[m - k] = swapped(conj(even - turned_odd));
}

// What load_spectra leaves behind is transformed by block_fft, as transform.fft says.

// The pairs of bins that one frame is made of: k and, of packed frames, n_fft / 2 - k.
template <typename T>
MEL_HOST_FN int bin_pairs(MEL_ARGS(FrameTransform<T>) transform) {
  if (transform.complex_input != 0) return transform.n_fft;
  return is_packed(transform) ? transform.n_fft / 4 + 1 : transform.n_fft / 2 + 1;
}

// Bins k and n_fft / 2 - k as they go into the transform; bin k alone where frames are not packed.
template <typename T, typename Values>
MEL_FN void store_pair(MEL_ARGS(FrameTransform<T>) transform, Values frame, int k, Complex<T> low, Complex<T> high) {
  if (is_packed(transform)) {
    pack_pair(frame, k, transform.n_fft / 2, low, high, Complex<T>(transform.real_twiddles[k]));
  } else {
    frame[k] = swapped(low);
    if (transform.complex_input == 0 && k > 0) frame[transform.n_fft - k] = swapped(conj(low));
  }
}

// Frames first .. first + count - 1 of the item that begins at element `item_at`.
template <typename T>
MEL_FN void load_spectra(MEL_THREAD_ARG t, MEL_ARGS(FrameTransform<T>) transform, MEL_ARGS(SpectrumArgs<T>) spectrum,
                         std::int64_t item_at, std::int64_t first, int count, MEL_SHARED(Complex<T>) frames) {
  const int n = transform.n_fft, pairs = bin_pairs(transform);
  const bool across = frames_are_contiguous(spectrum.grid);
  for (int i = t.thread(); i < pairs * count; i += t.threads()) {
    const int k = across ? i / count : i % pairs, f = across ? i % count : i / pairs;
    const std::int64_t at = item_at + (first + f) * spectrum.grid.frame_stride;
    const Complex<T> low = spectrum_value(spectrum, n, at, k);
    Complex<T> high = low;
    if (is_packed(transform)) high = spectrum_value(spectrum, n, at, n / 2 - k);
    store_pair(transform, frames + f * transform.fft.size, k, low, high);
  }
}

// Sample i of a frame after the transform, real or complex. Values: a pointer to T in any address space.
template <typename T, typename Values>
MEL_FN void load_sample_of(MEL_ARGS(FrameTransform<T>) transform, Values frame, int i, MEL_LOCAL T& value) {
  value = frame[(is_packed(transform) ? i : 2 * i) ^ 1];
}
template <typename T, typename Values>
MEL_FN void load_sample_of(MEL_ARGS(FrameTransform<T>), Values frame, int i, MEL_LOCAL Complex<T>& value) {
  value = Complex<T>{frame[2 * i + 1], frame[2 * i]};
}

// sum + value * factor
template <typename T>
MEL_FN T added_product(T value, T factor, T sum) {
  return mel_fma(value, factor, sum);
}
template <typename T>
MEL_FN Complex<T> added_product(Complex<T> value, T factor, Complex<T> sum) {
  return Complex<T>{mel_fma(value.re, factor, sum.re), mel_fma(value.im, factor, sum.im)};
}

// sum + Re conj(y) x, y being sample i of a frame after the transform and x the signal's sample at `source`.
template <typename Part, typename T, typename Values, typename Wide>
MEL_FN Wide add_sample_product(MEL_ARGS(FrameTransform<T>) transform, MEL_ARGS(SignalArgs) x, std::int64_t signal_at,
                               std::int64_t source, Values frame, int i, Wide sum) {
  if (transform.complex_input != 0) {
    const Complex<T> sample = load_complex_sample<T>(x, signal_at, source);
    Complex<T> y;
    load_sample_of<T>(transform, frame, i, y);
    return wide_fma(Part(y.re), Part(sample.re), wide_fma(Part(y.im), Part(sample.im), sum));
  }
  T y;
  load_sample_of<T>(transform, frame, i, y);
  return wide_fma(Part(y), Part(load_sample<T>(x, signal_at, source)), sum);
}

}  // namespace melisma::gpu
