#include <cmath>

#include "melisma/filtered_spectrogram.h"
#include "ops/filtered_spectrogram/cpu.h"
#include "ops/filtered_spectrogram/support.h"
#include "runtime/check.h"

namespace melisma {

void filtered_spectrogram_backward(const Tensor& x, const Tensor& grad, const Tensor* window, const FilterBank& bank,
                                   const FilteredSpectrogramParams& params, const Tensor& out) {
  const char* op = "filtered_spectrogram_backward";
  const SpectrogramCall call = check_filtered_spectrogram(x, bank, params, op);
  if (std::isfinite(params.log.top)) {
    fail_argument(op, "top_db must be infinite, for clipping is a step after this one, got %g", params.log.top);
  }
  const Shape shape = spectrogram_result_shape(x, bank.bands(), call.framing.frames, params.spectrogram.layout, op);
  const FilteredSpectrogramBackwardJob job{
      check_spectrogram_backward(x, grad, shape, bank.bands(), window, call.framing, params.spectrogram, out, op), bank,
      params.log, params.float64};
  if (shape.numel() > 0) filtered_spectrogram_backward_cpu(job);
}

}  // namespace melisma
