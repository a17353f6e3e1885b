// The checks of an inverse STFT.
#pragma once

#include "blocks/framing/framing.h"
#include "melisma/istft.h"

namespace melisma {

struct IstftCall {
  std::int64_t n_fft, hop, win_length;
  std::int64_t bins, frames;
  std::int64_t first;    // of the overlap-added samples, the first that is a result
  std::int64_t samples;  // of the result
  bool double_result;
  Shape shape;      // of the result
  Framing framing;  // of the result
  double scale;     // of the samples, without the 1 / n_fft of the inverse transform
};
// The adjoint of a transform whose result was real: its bins between DC and Nyquist stand for two.
inline double istft_adjoint_scale(bool complex_result) { return complex_result ? 1.0 : 2.0; }

// `argument`: what errors call the spectrum.
IstftCall check_istft(const Tensor& spec, const IstftParams& params, const char* op, const char* argument);

}  // namespace melisma
