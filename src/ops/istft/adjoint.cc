// The gradient of the inverse STFT: checks and job.
#include "melisma/istft.h"
#include "ops/istft/cpu.h"
#include "ops/istft/gpu.h"
#include "ops/istft/support.h"
#include "runtime/check.h"

namespace melisma {

void istft_adjoint(const Tensor& grad, const Tensor* window, const IstftParams& params, const Tensor& out,
                   const Queue& queue) {
  const char* op = "istft_adjoint";
  const Device device = check_devices(op, {{"grad", &grad}, {"window", window}, {"out", &out}});
  const IstftCall call = check_istft(out, params, op, "out");
  const bool complex_result = is_complex(grad.dtype);
  if (complex_result && params.onesided) fail_argument(op, "onesided must be false for a complex gradient, got true");
  const DType real = call.double_result ? DType::kFloat64 : DType::kFloat32;
  check_real_result(op, grad, call.shape, complex_result ? out.dtype : real, "grad");
  if (device.type != DeviceType::kCpu) {
    check_window(window, call.win_length, op);
    if (out.shape.numel() > 0) istft_adjoint_gpu(grad, window, params, call, out, queue);
    return;
  }
  const bool frame_major = params.layout == Layout::kFrameMajor;
  const double doubled = istft_adjoint_scale(complex_result);
  const IstftAdjointJob job{
      grad,
      call.framing,
      {params.edge, call.scale, op},
      padded_window(window, call.n_fft, call.win_length, 1.0, op),
      {out, call.n_fft, call.frames, call.bins, out.stride(frame_major ? -1 : -2), out.stride(frame_major ? -2 : -1),
       complex_result, RealBins::kAdjoint, padded_window(window, call.n_fft, call.win_length, doubled, op)}};
  if (out.shape.numel() > 0) istft_adjoint_cpu(job);
}

}  // namespace melisma
