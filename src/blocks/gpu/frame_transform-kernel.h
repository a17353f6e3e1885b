// From a signal to the spectra of its frames in shared memory: what every kernel that starts from samples begins with.
#pragma once

#include "blocks/gpu/block_fft-kernel.h"
#include "blocks/gpu/framing-kernel.h"
#include "blocks/gpu/window_tables-kernel.h"

namespace melisma::gpu {

// Real frames of even n_fft are packed, two samples to a complex value; of odd n_fft their imaginary parts are zero.
template <typename T>
struct FrameTransform {
  BlockFft<T> fft;
  MEL_GLOBAL(const T) window;                  // [n_fft], halved for packed frames
  MEL_GLOBAL(const Complex<T>) real_twiddles;  // [n_fft / 2 + 1], of packed frames
  int n_fft;
  int complex_input;
};

template <typename T>
MEL_HOST_FN bool is_packed(MEL_ARGS(FrameTransform<T>) transform) {
  return transform.real_twiddles != nullptr;
}

// What sample j is multiplied by: 0 beyond the signal's ends, where an envelope that vanishes is nobody's concern.
template <typename T>
MEL_FN T sample_reciprocal(MEL_ARGS(FramingArgs) framing, MEL_ARGS(Reciprocals<T>) reciprocals, std::int64_t j) {
  if (reciprocals.table == nullptr) return T(1);
  return j >= 0 && j < framing.length ? reciprocal_at(reciprocals, j + framing.offset) : T(0);
}

// Sample i of the frame that starts at `start`, windowed.
template <typename T>
MEL_FN T real_frame_value(MEL_ARGS(SignalArgs) x, MEL_ARGS(FramingArgs) framing, MEL_ARGS(Reciprocals<T>) reciprocals,
                          MEL_GLOBAL(const T) window, std::int64_t item_at, std::int64_t start, int i) {
  const T sample = load_sample<T>(x, item_at, source_index(framing, start + i));
  return sample * sample_reciprocal(framing, reciprocals, start + i) * window[i];
}
template <typename T>
MEL_FN Complex<T> complex_frame_value(MEL_ARGS(SignalArgs) x, MEL_ARGS(FramingArgs) framing,
                                      MEL_ARGS(Reciprocals<T>) reciprocals, MEL_GLOBAL(const T) window,
                                      std::int64_t item_at, std::int64_t start, int i) {
  const Complex<T> sample = load_complex_sample<T>(x, item_at, source_index(framing, start + i));
  return sample * sample_reciprocal(framing, reciprocals, start + i) * window[i];
}

// Value j of a frame as the transform takes it.
template <typename T>
MEL_FN Complex<T> frame_value(MEL_ARGS(SignalArgs) x, MEL_ARGS(FramingArgs) framing,
                              MEL_ARGS(FrameTransform<T>) transform, MEL_ARGS(Reciprocals<T>) reciprocals,
                              std::int64_t item_at, std::int64_t start, int j) {
  if (transform.complex_input != 0) {
    return complex_frame_value(x, framing, reciprocals, transform.window, item_at, start, j);
  }
  if (!is_packed(transform)) {
    return Complex<T>{real_frame_value(x, framing, reciprocals, transform.window, item_at, start, j), T(0)};
  }
  return Complex<T>{real_frame_value(x, framing, reciprocals, transform.window, item_at, start, 2 * j),
                    real_frame_value(x, framing, reciprocals, transform.window, item_at, start, 2 * j + 1)};
}

// Frames first .. first + count - 1 of the item that begins at element item_at, ready for block_fft.
template <typename T>
MEL_FN void load_frames(MEL_THREAD_ARG t, MEL_ARGS(SignalArgs) x, MEL_ARGS(FramingArgs) framing,
                        MEL_ARGS(FrameTransform<T>) transform, MEL_ARGS(Reciprocals<T>) reciprocals,
                        std::int64_t item_at, std::int64_t first, int count, MEL_SHARED(Complex<T>) frames) {
  const int n = transform.fft.n;
  int frame = t.thread() / n, j = t.thread() - frame * n;
  const int frame_step = t.threads() / n, step = t.threads() - frame_step * n;
  while (frame < count) {
    const std::int64_t start = frame_start(framing, first + frame);
    frames[frame * transform.fft.size + j] = frame_value(x, framing, transform, reciprocals, item_at, start, j);
    frame += frame_step;
    j += step;
    if (j >= n) {
      j -= n;
      ++frame;
    }
  }
}

// Bin k of a frame from its transform z: 0 <= k <= n_fft / 2, of complex input 0 <= k < n_fft. Values: a pointer to
// Complex<T> in any address space.
template <typename T, typename Values>
MEL_FN Complex<T> spectrum_bin(MEL_ARGS(FrameTransform<T>) transform, Values z, int k) {
  if (!is_packed(transform)) {
    const Complex<T> value = z[k];
    return transform.complex_input == 0 && k == 0 ? Complex<T>{value.re, T(0)} : value;
  }
  const int n = transform.n_fft / 2;
  const bool edge = k == 0 || k == n;
  const Complex<T> low = z[edge ? 0 : k], high = conj(Complex<T>(z[edge ? 0 : n - k]));
  const Complex<T> value = (low + high) + turned(low - high) * transform.real_twiddles[k];
  return edge ? Complex<T>{value.re, T(0)} : value;
}

}  // namespace melisma::gpu
