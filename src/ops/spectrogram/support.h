// Checks that the magnitude spectrogram and everything built on it share.
#pragma once

#include <vector>

#include "blocks/framing/framing.h"
#include "melisma/spectrogram.h"
#include "ops/spectrogram/cpu.h"

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

// input_scale and the norm that does not depend on the window.
double spectrogram_scale(const SpectrogramParams& params);

// Of a gradient with respect to x: x must be float32 or float64, grad of x's dtype and of grad_shape, and out like x;
// on a GPU each may be float16 or bfloat16 in place of float32.
void check_spectrogram_backward(const Tensor& x, const Tensor& grad, const Shape& grad_shape, const Tensor& out,
                                const char* op);
// Its job; rows: bins or bands.
SpectrogramBackwardJob spectrogram_backward_job(const Tensor& x, const Tensor& grad, std::int64_t rows,
                                                const Tensor* window, const Framing& framing,
                                                const SpectrogramParams& params, const Tensor& out, const char* op);

}  // namespace melisma
