// The CPU kernel's side of the STFT: everything checked, the window ready.
#pragma once

#include <vector>

#include "blocks/framing/framing.h"
#include "melisma/stft.h"

namespace melisma {

struct StftJob {
  const Tensor& x;
  const Tensor& out;
  Framing framing;
  std::int64_t bins;
  std::int64_t bin_stride, frame_stride;  // of out, in complex values
  bool onesided;
  std::vector<double> window;  // [n_fft], scaled
};

void stft_cpu(const StftJob& job);
// "fft-across-lanes" or "frame-per-lane", and in what precision and why.
Explanation stft_cpu_kernel(std::int64_t n_fft, bool complex_input, bool double_result);

}  // namespace melisma
