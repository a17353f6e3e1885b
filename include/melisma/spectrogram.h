// Magnitude spectrogram |X|^power, in one pass from the samples.
#pragma once

#include "melisma/frames.h"
#include "melisma/queue.h"
#include "melisma/runtime.h"
#include "melisma/tensor.h"

namespace melisma {

// How the STFT is scaled before the power is taken (torchaudio's `normalized`).
enum class SpectrumNorm : std::uint8_t {
  kNone,
  kFrameLength,  // times 1 / sqrt(n_fft)
  kWindow,       // times 1 / sqrt(sum w^2); a window of zeros is an Error, on a GPU it gives NaN
};

struct SpectrogramParams {
  FrameParams frames;
  // > 0; 1 is the magnitude, 2 the power. Computed from the square, so float32 magnitudes below 1e-19 come out as 0 and
  // above 1e19 as infinity.
  double power = 2.0;
  SpectrumNorm norm = SpectrumNorm::kNone;
  bool nyquist = true;  // false leaves bin n_fft/2 out (madmom); needs an even n_fft
  Layout layout = Layout::kFrequencyMajor;
};

// x: [..., samples] int16, float32 or float64; out: spectrogram_shape(x, params), float32, or float64 from float64.
// On a GPU x and out may each be float16 or bfloat16 in place of float32; computed in float32.
Shape spectrogram_shape(const Tensor& x, const SpectrogramParams& params);
void spectrogram(const Tensor& x, const Tensor* window, const SpectrogramParams& params, const Tensor& out,
                 const Queue& queue = {});
Explanation explain_spectrogram(const Tensor& x, const SpectrogramParams& params);

// Gradient with respect to x of a loss whose gradient with respect to the spectrogram is `grad`; the spectrum is
// computed again. Where |X|^2 is below the smallest normal number (1.2e-38 in float32) the derivative is taken as 0, so
// silence gives 0 whatever the power; power 2 needs no such limit.
// x:    [..., samples] float32 or float64
// grad: spectrogram_shape(x, params), of x's dtype
// out:  x's shape and dtype, no overlap with x or grad; any strides in all three
// On a GPU each of the three may be float16 or bfloat16 in place of float32.
void spectrogram_backward(const Tensor& x, const Tensor& grad, const Tensor* window, const SpectrogramParams& params,
                          const Tensor& out, const Queue& queue = {});

// The same two in plain float64 arithmetic whatever x is; grad and out are float64.
void spectrogram_reference(const Tensor& x, const Tensor* window, const SpectrogramParams& params, const Tensor& out);
void spectrogram_backward_reference(const Tensor& x, const Tensor& grad, const Tensor* window,
                                    const SpectrogramParams& params, const Tensor& out);

}  // namespace melisma
