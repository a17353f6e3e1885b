// Transforms whose result is the spectrum: what the STFT and the gradient of the inverse STFT ask for.
#pragma once

#include <cstdint>
#include <vector>

#include "melisma/tensor.h"

namespace melisma {

// How the bins of a real frame are written.
enum class RealBins : std::uint8_t {
  kHalf,     // 0 .. n_fft / 2 at most
  kBoth,     // all n_fft, those above n_fft / 2 by Hermitian symmetry
  kAdjoint,  // the adjoint of an inverse transform that reads bins 0 .. n_fft / 2: DC and (even n_fft) Nyquist halved
             // and without imaginary part, those above n_fft / 2 zero
};

struct TransformJob {
  const Tensor& out;  // complex, [..., bins, frames] in either order
  std::int64_t n_fft, frames, bins;
  std::int64_t bin_stride, frame_stride;  // of out, in complex values
  bool complex_input;
  RealBins real_bins;          // of no meaning for complex input
  std::vector<double> window;  // [n_fft], scaled
};

}  // namespace melisma
