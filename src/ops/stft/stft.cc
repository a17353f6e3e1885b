#include "melisma/stft.h"

#include <cinttypes>
#include <cmath>

#include "blocks/framing/framing.h"
#include "ops/stft/cpu.h"
#include "ops/stft/gpu.h"
#include "ops/stft/support.h"
#include "runtime/check.h"

namespace melisma {

StftCall check_stft(const Tensor& x, const StftParams& params, const char* op) {
  if (x.ndim() < 1) fail_argument(op, "input must have at least 1 dimension, got a scalar");
  const Framing framing = make_framing(x.size(-1), params.frames, op);
  const bool complex_input = is_complex(x.dtype);
  if (complex_input && params.onesided) fail_argument(op, "onesided must be false for complex input, got true");
  if (!params.nyquist && (!params.onesided || framing.n_fft % 2 != 0)) {
    fail_argument(op, "nyquist = false needs onesided = true and an even n_fft, got n_fft = %" PRId64, framing.n_fft);
  }
  std::int64_t bins = params.onesided ? framing.n_fft / 2 + 1 : framing.n_fft;
  if (!params.nyquist) --bins;
  if (x.ndim() + 1 > kMaxDims)
    fail_argument(op, "input must have at most %d dimensions, got %d", kMaxDims - 1, x.ndim());
  Shape shape = x.shape;
  shape.ndim = x.ndim() + 1;
  const bool frame_major = params.layout == Layout::kFrameMajor;
  shape[-2] = frame_major ? framing.frames : bins;
  shape[-1] = frame_major ? bins : framing.frames;
  shape.numel();  // refuses results that int64 cannot count
  const double norm = params.normalized ? 1 / std::sqrt(static_cast<double>(framing.n_fft)) : 1;
  return {framing,       bins,
          shape,         params.frames.input_scale * norm,
          complex_input, x.dtype == DType::kFloat64 || x.dtype == DType::kComplex128};
}

Shape stft_shape(const Tensor& x, const StftParams& params) { return check_stft(x, params, "stft").shape; }

void stft(const Tensor& x, const Tensor* window, const StftParams& params, const Tensor& out, const Queue& queue) {
  const Device device = check_devices("stft", {{"input", &x}, {"window", window}, {"out", &out}});
  const StftCall call = check_stft(x, params, "stft");
  check_result("stft", out, call.shape, call.double_result ? DType::kComplex128 : DType::kComplex64);
  if (device.type != DeviceType::kCpu) {
    check_window(window, checked_win_length(params.frames.win_length, call.framing.n_fft, "stft"), "stft");
    if (call.shape.numel() > 0) stft_gpu(x, window, params, call, out, queue);
    return;
  }
  const bool frame_major = params.layout == Layout::kFrameMajor;
  const StftJob job{
      x,
      call.framing,
      {out, call.framing.n_fft, call.framing.frames, call.bins, out.stride(frame_major ? -1 : -2),
       out.stride(frame_major ? -2 : -1), call.complex_input, params.onesided ? RealBins::kHalf : RealBins::kBoth,
       padded_window(window, call.framing.n_fft, params.frames.win_length, call.scale, "stft")}};
  if (call.shape.numel() > 0) stft_cpu(job);
}

Explanation explain_stft(const Tensor& x, const StftParams& params) {
  const StftCall call = check_stft(x, params, "stft");
  if (x.device.type != DeviceType::kCpu) return stft_gpu_kernel(x, params, call);
  return stft_cpu_kernel(call.framing.n_fft, call.complex_input, call.double_result);
}

}  // namespace melisma
