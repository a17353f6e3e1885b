// Magnitude spectrogram |X|^power, in one pass from the samples.
#pragma once

#include "melisma/frames.h"
#include "melisma/runtime.h"
#include "melisma/tensor.h"

namespace melisma {

// How the STFT is scaled before the power is taken (torchaudio's `normalized`).
enum class SpectrumNorm : std::uint8_t {
  kNone,
  kFrameLength,  // times 1 / sqrt(n_fft)
  kWindow,       // times 1 / sqrt(sum w^2)
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
Shape spectrogram_shape(const Tensor& x, const SpectrogramParams& params);
void spectrogram(const Tensor& x, const Tensor* window, const SpectrogramParams& params, const Tensor& out);
Explanation explain_spectrogram(const Tensor& x, const SpectrogramParams& params);

void spectrogram_reference(const Tensor& x, const Tensor* window, const SpectrogramParams& params, const Tensor& out);

}  // namespace melisma
