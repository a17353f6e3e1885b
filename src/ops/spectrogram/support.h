// Checks that the magnitude spectrogram and everything built on it share.
#pragma once

#include <vector>

#include "blocks/framing/framing.h"
#include "melisma/spectrogram.h"

namespace melisma {

struct SpectrogramCall {
  Framing framing;
  std::int64_t bins;
  bool double_result;
};
SpectrogramCall check_spectrogram(const Tensor& x, const SpectrogramParams& params, const char* op);

// [..., rows, frames], or [..., frames, rows] for Layout::kFrameMajor.
Shape spectrogram_result_shape(const Tensor& x, std::int64_t rows, std::int64_t frames, Layout layout, const char* op);

// The window in n_fft values with input_scale and the spectrum's norm in it.
std::vector<double> spectrogram_window(const Tensor* window, const SpectrogramParams& params, const char* op);

}  // namespace melisma
