#include <cmath>

#include "melisma/filtered_spectrogram.h"
#include "ops/filtered_spectrogram/cpu.h"
#include "ops/filtered_spectrogram/gpu.h"
#include "ops/filtered_spectrogram/support.h"
#include "runtime/check.h"

namespace melisma {

void filtered_spectrogram_backward(const Tensor& x, const Tensor& grad, const Tensor* window,
                                   const FilterBankView& bank, const FilteredSpectrogramParams& params,
                                   const Tensor& out, const Queue& queue) {
  const char* op = "filtered_spectrogram_backward";
  const Device device = check_devices(
      op, {{"input", &x}, {"grad", &grad}, {"window", window}, {"filterbank", bank.weights()}, {"out", &out}});
  const SpectrogramCall call = check_filtered_spectrogram(x, bank, params, op);
  if (std::isfinite(params.log.top)) {
    fail_argument(op, "top_db must be infinite, for clipping is a step after this one, got %g", params.log.top);
  }
  const Shape shape = spectrogram_result_shape(x, bank.bands(), call.framing.frames, params.spectrogram.layout, op);
  check_spectrogram_backward(x, grad, shape, out, op);
  if (device.type != DeviceType::kCpu) {
    check_window(window, checked_win_length(params.spectrogram.frames.win_length, call.framing.n_fft, op), op);
    if (shape.numel() > 0) filtered_spectrogram_backward_gpu(x, grad, window, bank, params, call, out, queue);
    return;
  }
  const FilteredSpectrogramBackwardJob job{
      spectrogram_backward_job(x, grad, bank.bands(), window, call.framing, params.spectrogram, out, op),
      bank_on_host(bank, op), params.log, params.float64};
  if (shape.numel() > 0) filtered_spectrogram_backward_cpu(job);
}

}  // namespace melisma
