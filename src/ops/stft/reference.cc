// The STFT as its definition says it, in float64.
#include <cmath>

#include "blocks/reference/reference.h"
#include "melisma/stft.h"
#include "runtime/check.h"

namespace melisma {

void stft_reference(const Tensor& x, const Tensor* window, const StftParams& params, const Tensor& out) {
  const char* op = "stft_reference";
  const Shape shape = stft_shape(x, params);
  check_result(op, out, shape, DType::kComplex128);
  const Framing framing = make_framing(x.size(-1), params.frames, op);
  const double norm = params.normalized ? 1.0 / std::sqrt(static_cast<double>(framing.n_fft)) : 1.0;
  const std::vector<double> w =
      padded_window(window, framing.n_fft, params.frames.win_length, norm * params.frames.input_scale, op);
  const bool frame_major = params.layout == Layout::kFrameMajor;
  const std::int64_t bin_stride = out.stride(frame_major ? -1 : -2), frame_stride = out.stride(frame_major ? -2 : -1);
  const std::int64_t bins = shape[frame_major ? -1 : -2];
  for (std::int64_t item = 0; item < item_count(x.shape, 1); ++item) {
    const auto frames = reference::spectra(x, item, params.frames, framing, w);
    const std::int64_t base = item_offset(out, 2, item);
    for (std::int64_t t = 0; t < framing.frames; ++t) {
      for (std::int64_t k = 0; k < bins; ++k) {
        reference::store(out, base + k * bin_stride + t * frame_stride,
                         frames[static_cast<std::size_t>(t)][static_cast<std::size_t>(k)]);
      }
    }
  }
}

}  // namespace melisma
