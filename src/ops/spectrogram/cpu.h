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

// Of a gradient with respect to the samples; filtered_spectrogram's has bands in place of bins.
struct SpectrogramBackwardJob {
  const Tensor& x;
  const Tensor& grad;
  const Tensor& out;
  Framing framing;
  std::int64_t rows;                      // bins (or bands) of grad
  std::int64_t row_stride, frame_stride;  // of grad
  double power;
  std::vector<double> window;  // [n_fft], scaled
};

void spectrogram_cpu(const SpectrogramJob& job);
void spectrogram_backward_cpu(const SpectrogramBackwardJob& job);
Explanation spectrogram_cpu_kernel(std::int64_t n_fft, bool double_result);

}  // namespace melisma
