#include "melisma/spectrogram.h"
#include "ops/spectrogram/cpu.h"
#include "ops/spectrogram/gpu.h"
#include "ops/spectrogram/support.h"
#include "runtime/check.h"

namespace melisma {

void check_spectrogram_backward(const Tensor& x, const Tensor& grad, const Shape& grad_shape, const Tensor& out,
                                const char* op) {
  if (x.dtype == DType::kInt16) fail_type(op, "input must be float32 or float64, got int16");
  const DType dtype = x.dtype == DType::kFloat64 ? DType::kFloat64 : DType::kFloat32;
  check_real_result(op, grad, grad_shape, dtype, "grad");
  check_real_result(op, out, x.shape, dtype);
}

SpectrogramBackwardJob spectrogram_backward_job(const Tensor& x, const Tensor& grad, std::int64_t rows,
                                                const Tensor* window, const Framing& framing,
                                                const SpectrogramParams& params, const Tensor& out, const char* op) {
  const bool frame_major = params.layout == Layout::kFrameMajor;
  return {x,
          grad,
          out,
          framing,
          rows,
          grad.stride(frame_major ? -1 : -2),
          grad.stride(frame_major ? -2 : -1),
          params.power,
          spectrogram_window(window, params, op)};
}

void spectrogram_backward(const Tensor& x, const Tensor& grad, const Tensor* window, const SpectrogramParams& params,
                          const Tensor& out, const Queue& queue) {
  const char* op = "spectrogram_backward";
  const Device device = check_devices(op, {{"input", &x}, {"grad", &grad}, {"window", window}, {"out", &out}});
  const SpectrogramCall call = check_spectrogram(x, params, op);
  const Shape shape = spectrogram_result_shape(x, call.bins, call.framing.frames, params.layout, op);
  check_spectrogram_backward(x, grad, shape, out, op);
  if (device.type != DeviceType::kCpu) {
    check_window(window, checked_win_length(params.frames.win_length, call.framing.n_fft, op), op);
    if (shape.numel() > 0) spectrogram_backward_gpu(x, grad, window, params, call, out, queue);
    return;
  }
  const SpectrogramBackwardJob job =
      spectrogram_backward_job(x, grad, call.bins, window, call.framing, params, out, op);
  if (shape.numel() > 0) spectrogram_backward_cpu(job);
}

}  // namespace melisma
