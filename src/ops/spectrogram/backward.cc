#include "melisma/spectrogram.h"
#include "ops/spectrogram/cpu.h"
#include "ops/spectrogram/support.h"
#include "runtime/check.h"

namespace melisma {

SpectrogramBackwardJob check_spectrogram_backward(const Tensor& x, const Tensor& grad, const Shape& grad_shape,
                                                  std::int64_t rows, const Tensor* window, const Framing& framing,
                                                  const SpectrogramParams& params, const Tensor& out, const char* op) {
  if (x.dtype == DType::kInt16) fail_type(op, "input must be float32 or float64, got int16");
  check_result(op, grad, grad_shape, x.dtype, "grad");
  check_result(op, out, x.shape, x.dtype);
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
                          const Tensor& out) {
  const char* op = "spectrogram_backward";
  const SpectrogramCall call = check_spectrogram(x, params, op);
  const Shape shape = spectrogram_result_shape(x, call.bins, call.framing.frames, params.layout, op);
  const SpectrogramBackwardJob job =
      check_spectrogram_backward(x, grad, shape, call.bins, window, call.framing, params, out, op);
  if (shape.numel() > 0) spectrogram_backward_cpu(job);
}

}  // namespace melisma
