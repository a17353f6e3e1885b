// Short-time Fourier transform.  X[f, t] = sum_n x[t * hop + n - pad] w[n] exp(-2 pi i f n / n_fft)
#pragma once

#include "melisma/frames.h"
#include "melisma/runtime.h"
#include "melisma/tensor.h"

namespace melisma {

struct StftParams {
  FrameParams frames;
  bool normalized = false;  // times 1 / sqrt(n_fft)
  bool onesided = true;     // bins 0 .. n_fft/2 only; must be false for complex input
  bool nyquist = true;      // false leaves bin n_fft/2 out of a one-sided result (madmom); needs an even n_fft
  Layout layout = Layout::kFrequencyMajor;
};

// x:      [..., samples] int16, float32, float64, complex64 or complex128, any strides
// window: [win_length] float32 or float64 (complex is refused), or null for ones
// out:    stft_shape(x, params), complex64 (from int16, float32, complex64) or complex128, any strides, no overlap with
// x Computed in float32 unless x is float64 or complex128.
Shape stft_shape(const Tensor& x, const StftParams& params);
void stft(const Tensor& x, const Tensor* window, const StftParams& params, const Tensor& out);
Explanation explain_stft(const Tensor& x, const StftParams& params);

// The same in plain float64 arithmetic whatever x is; out is complex128. For tests, benchmarks and documentation.
void stft_reference(const Tensor& x, const Tensor* window, const StftParams& params, const Tensor& out);

}  // namespace melisma
