#include "melisma/spectrogram.h"

#include <cinttypes>
#include <cmath>

#include "ops/spectrogram/cpu.h"
#include "ops/spectrogram/gpu.h"
#include "ops/spectrogram/support.h"
#include "runtime/check.h"

namespace melisma {

SpectrogramCall check_spectrogram(const Tensor& x, const SpectrogramParams& params, const char* op) {
  if (x.ndim() < 1) fail_argument(op, "input must have at least 1 dimension, got a scalar");
  if (is_complex(x.dtype)) fail_type(op, "input must be int16, float32 or float64, got %s", dtype_name(x.dtype));
  const Framing framing = make_framing(x.size(-1), params.frames, op);
  if (!(params.power > 0) || !std::isfinite(params.power)) fail_argument(op, "power must be > 0, got %g", params.power);
  if (!params.nyquist && framing.n_fft % 2 != 0) {
    fail_argument(op, "nyquist = false needs an even n_fft, got %" PRId64, framing.n_fft);
  }
  return {framing, framing.n_fft / 2 + (params.nyquist ? 1 : 0), x.dtype == DType::kFloat64};
}

Shape spectrogram_result_shape(const Tensor& x, std::int64_t rows, std::int64_t frames, Layout layout, const char* op) {
  if (x.ndim() + 1 > kMaxDims)
    fail_argument(op, "input must have at most %d dimensions, got %d", kMaxDims - 1, x.ndim());
  Shape shape = x.shape;
  shape.ndim = x.ndim() + 1;
  shape[-2] = layout == Layout::kFrameMajor ? frames : rows;
  shape[-1] = layout == Layout::kFrameMajor ? rows : frames;
  shape.numel();  // refuses results that int64 cannot count
  return shape;
}

double spectrogram_scale(const SpectrogramParams& params) {
  const double scale = params.frames.input_scale;
  return params.norm == SpectrumNorm::kFrameLength ? scale / std::sqrt(static_cast<double>(params.frames.n_fft))
                                                   : scale;
}

std::vector<double> spectrogram_window(const Tensor* window, const SpectrogramParams& params, const char* op) {
  std::vector<double> result = padded_window(window, params.frames.n_fft, params.frames.win_length, 1.0, op);
  double scale = spectrogram_scale(params);
  if (params.norm == SpectrumNorm::kWindow) {
    double energy = 0;
    for (double w : result) energy += w * w;
    if (!(energy > 0)) fail_argument(op, "window must not be all zero where the spectrum is divided by its norm");
    scale /= std::sqrt(energy);
  }
  for (double& w : result) w *= scale;
  return result;
}

Shape spectrogram_shape(const Tensor& x, const SpectrogramParams& params) {
  const SpectrogramCall call = check_spectrogram(x, params, "spectrogram");
  return spectrogram_result_shape(x, call.bins, call.framing.frames, params.layout, "spectrogram");
}

void spectrogram(const Tensor& x, const Tensor* window, const SpectrogramParams& params, const Tensor& out,
                 const Queue& queue) {
  const char* op = "spectrogram";
  const Device device = check_devices(op, {{"input", &x}, {"window", window}, {"out", &out}});
  const SpectrogramCall call = check_spectrogram(x, params, op);
  const Shape shape = spectrogram_shape(x, params);
  check_real_result(op, out, shape, call.double_result ? DType::kFloat64 : DType::kFloat32);
  if (device.type != DeviceType::kCpu) {
    check_window(window, checked_win_length(params.frames.win_length, call.framing.n_fft, op), op);
    if (shape.numel() > 0) spectrogram_gpu(x, window, params, call, out, queue);
    return;
  }
  const bool frame_major = params.layout == Layout::kFrameMajor;
  const SpectrogramJob job{x,
                           out,
                           call.framing,
                           call.bins,
                           out.stride(frame_major ? -1 : -2),
                           out.stride(frame_major ? -2 : -1),
                           params.power,
                           spectrogram_window(window, params, op)};
  if (shape.numel() > 0) spectrogram_cpu(job);
}

Explanation explain_spectrogram(const Tensor& x, const SpectrogramParams& params) {
  const SpectrogramCall call = check_spectrogram(x, params, "spectrogram");
  if (x.device.type != DeviceType::kCpu) return spectrogram_gpu_kernel(x, params, call);
  return spectrogram_cpu_kernel(call.framing.n_fft, call.double_result);
}

}  // namespace melisma
