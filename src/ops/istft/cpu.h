// The CPU kernel's side of the inverse STFT.
#pragma once

#include <vector>

#include "melisma/istft.h"

namespace melisma {

struct IstftJob {
  const Tensor& spec;
  const Tensor& out;
  std::int64_t n_fft, hop, bins, frames, first, samples;
  std::int64_t bin_stride, frame_stride;  // of spec, in complex values
  EdgePolicy edge;
  double scale;                // of the samples, without the 1 / n_fft of the inverse transform
  std::vector<double> window;  // [n_fft]
};

void istft_cpu(const IstftJob& job);
Explanation istft_cpu_kernel(std::int64_t n_fft, bool complex_result, bool double_result);

}  // namespace melisma
