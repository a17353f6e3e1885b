// Which kernel an STFT call runs on, and why: one decision for dispatch, errors and explain.
#pragma once

#include "blocks/framing/framing.h"
#include "blocks/overlap_add/inverse.h"
#include "melisma/stft.h"

namespace melisma {

// A checked call.
struct StftCall {
  Framing framing;
  std::int64_t bins;
  Shape shape;   // of the spectrum
  double scale;  // what the window is multiplied by
  bool complex_input, double_result;
};
StftCall check_stft(const Tensor& x, const StftParams& params, const char* op);

// From the gradient's spectra to frames: X_k = sum_n x_n exp(-2 pi i k n / n_fft) of a real x has the adjoint
// Re sum_k G_k exp(2 pi i k n / n_fft), half of an inverse transform whose DC and Nyquist count twice.
inline constexpr double kAdjointEdgeBins = 2.0;
inline double adjoint_scale(const StftCall& call) { return call.complex_input ? call.scale : 0.5 * call.scale; }
BinSet adjoint_bins(const StftCall& call, const StftParams& params);

}  // namespace melisma
