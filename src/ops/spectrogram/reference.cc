// |X|^power as its definition says it, in float64; out is float64 whatever x is.
#include <cmath>

#include "blocks/reference/reference.h"
#include "melisma/spectrogram.h"
#include "melisma/stft.h"
#include "runtime/check.h"

namespace melisma {
namespace {

double norm_scale(SpectrumNorm norm, const std::vector<double>& window, std::int64_t n_fft) {
  double energy = 0.0;
  for (const double w : window) energy += w * w;
  switch (norm) {
    case SpectrumNorm::kNone: return 1.0;
    case SpectrumNorm::kFrameLength: return 1.0 / std::sqrt(static_cast<double>(n_fft));
    case SpectrumNorm::kWindow: return 1.0 / std::sqrt(energy);
  }
  return 1.0;
}

}  // namespace

void spectrogram_reference(const Tensor& x, const Tensor* window, const SpectrogramParams& params, const Tensor& out) {
  const char* op = "spectrogram_reference";
  const Shape shape = spectrogram_shape(x, params);
  check_result(op, out, shape, DType::kFloat64);
  const Framing framing = make_framing(x.size(-1), params.frames, op);
  std::vector<double> w = padded_window(window, framing.n_fft, params.frames.win_length, 1.0, op);
  const double scale = norm_scale(params.norm, w, framing.n_fft) * params.frames.input_scale;
  for (double& value : w) value *= scale;
  const bool frame_major = params.layout == Layout::kFrameMajor;
  const std::int64_t bin_stride = out.stride(frame_major ? -1 : -2), frame_stride = out.stride(frame_major ? -2 : -1);
  const std::int64_t bins = shape[frame_major ? -1 : -2];
  for (std::int64_t item = 0; item < item_count(x.shape, 1); ++item) {
    const auto frames = reference::spectra(x, item, params.frames, framing, w);
    const std::int64_t base = item_offset(out, 2, item);
    for (std::int64_t t = 0; t < framing.frames; ++t) {
      for (std::int64_t k = 0; k < bins; ++k) {
        const double magnitude = std::abs(frames[static_cast<std::size_t>(t)][static_cast<std::size_t>(k)]);
        reference::store(out, base + k * bin_stride + t * frame_stride, std::pow(magnitude, params.power));
      }
    }
  }
}

// From the spectrum, dL/dX = grad p |X|^(p-2) X, and back through the adjoint of the STFT.
void spectrogram_backward_reference(const Tensor& x, const Tensor& grad, const Tensor* window,
                                    const SpectrogramParams& params, const Tensor& out) {
  const char* op = "spectrogram_backward_reference";
  const Shape shape = spectrogram_shape(x, params);
  check_result(op, grad, shape, DType::kFloat64, "grad");
  check_result(op, out, x.shape, DType::kFloat64);
  // The window as the STFT takes it, with the norm in it.
  const std::int64_t n_fft = params.frames.n_fft, win = checked_win_length(params.frames.win_length, n_fft, op);
  std::vector<double> w = padded_window(window, n_fft, win, 1.0, op);
  const double scale = norm_scale(params.norm, w, n_fft);
  for (double& value : w) value *= scale;
  const Tensor scaled(w.data() + (n_fft - win) / 2, DType::kFloat64, {win});

  const StftParams stft_params{.frames = params.frames, .nyquist = params.nyquist, .layout = params.layout};
  const Shape spectrum_shape = stft_shape(x, stft_params);
  std::vector<reference::Complex> spectrum(static_cast<std::size_t>(spectrum_shape.numel()));
  const Tensor values(spectrum.data(), DType::kComplex128, spectrum_shape);
  stft_reference(x, &scaled, stft_params, values);
  for (std::int64_t i = 0; i < shape.numel(); ++i) {
    reference::Complex& bin = spectrum[static_cast<std::size_t>(i)];
    const double magnitude = std::abs(bin);
    const double g = reference::load(grad, item_offset(grad, 0, i)).real();
    bin = magnitude > 0 ? g * params.power * std::pow(magnitude, params.power - 2) * bin : 0.0;
  }
  stft_adjoint_reference(values, &scaled, stft_params, out);
}

}  // namespace melisma
