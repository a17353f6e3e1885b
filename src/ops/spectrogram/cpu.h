// The CPU kernel's side of the magnitude spectrogram.
#pragma once

#include <vector>

#include "blocks/framing/framing.h"
#include "melisma/spectrogram.h"

namespace melisma {

struct SpectrogramJob {
  const Tensor& x;
  const Tensor& out;
  Framing framing;
  std::int64_t bins;
  std::int64_t bin_stride, frame_stride;  // of out
  double power;
  std::vector<double> window;  // [n_fft], scaled
};

void spectrogram_cpu(const SpectrogramJob& job);
Explanation spectrogram_cpu_kernel(std::int64_t n_fft, bool double_result);

}  // namespace melisma
