// The gradients of the STFT: checks and jobs. The adjoint of its transform is the inverse STFT's, without envelope.
#include "melisma/stft.h"
#include "ops/stft/cpu.h"
#include "ops/stft/gpu.h"
#include "ops/stft/support.h"
#include "runtime/check.h"
#include "runtime/registry.h"

namespace melisma {
namespace {

DType spectrum_dtype(const StftCall& call) { return call.double_result ? DType::kComplex128 : DType::kComplex64; }

InverseJob adjoint_job(const Tensor& grad, const StftCall& call, const StftParams& params, const Tensor& out) {
  const bool frame_major = params.layout == Layout::kFrameMajor;
  return {grad,
          out,
          call.framing,
          grad.stride(frame_major ? -1 : -2),
          grad.stride(frame_major ? -2 : -1),
          adjoint_bins(call, params),
          kAdjointEdgeBins,
          {},
          std::nullopt};
}

}  // namespace

BinSet adjoint_bins(const StftCall& call, const StftParams& params) {
  if (!params.onesided) return call.complex_input ? BinSet::kAll : BinSet::kFolded;
  return params.nyquist ? BinSet::kHalf : BinSet::kNoNyquist;
}

void stft_adjoint(const Tensor& grad, const Tensor* window, const StftParams& params, const Tensor& out,
                  const Queue& queue) {
  const char* op = "stft_adjoint";
  const Device device = check_devices(op, {{"grad", &grad}, {"window", window}, {"out", &out}});
  if (out.dtype == DType::kInt16) {
    fail_type(op, "out must be float32, float64, complex64 or complex128, got %s", dtype_name(out.dtype));
  }
  const StftCall call = check_stft(out, params, op);
  check_result(op, grad, call.shape, spectrum_dtype(call), "grad");
  if (device.type != DeviceType::kCpu) {
    check_window(window, checked_win_length(params.frames.win_length, call.framing.n_fft, op), op);
    if (call.shape.numel() > 0) stft_adjoint_gpu(grad, window, params, call, out, queue);
    return;
  }
  InverseJob job = adjoint_job(grad, call, params, out);
  job.window = padded_window(window, call.framing.n_fft, params.frames.win_length, adjoint_scale(call), op);
  if (call.shape.numel() == 0) return;
  count_call("stft_adjoint", "cpu");
  inverse_overlap_add(job);
}

void stft_window_gradient(const Tensor& x, const Tensor& grad, const StftParams& params, const Tensor& out,
                          const Queue& queue) {
  const char* op = "stft_window_gradient";
  const Device device = check_devices(op, {{"input", &x}, {"grad", &grad}, {"out", &out}});
  const StftCall call = check_stft(x, params, op);
  check_result(op, grad, call.shape, spectrum_dtype(call), "grad");
  const std::int64_t n_fft = call.framing.n_fft, win = checked_win_length(params.frames.win_length, n_fft, op);
  if (out.dtype != DType::kFloat32 && out.dtype != DType::kFloat64) {
    fail_type(op, "out must be float32 or float64, got %s", dtype_name(out.dtype));
  }
  check_result(op, out, Shape{win}, out.dtype);
  if (device.type != DeviceType::kCpu) return stft_window_gradient_gpu(x, grad, params, call, out, queue);

  std::vector<double> sums(static_cast<std::size_t>(n_fft));
  if (call.shape.numel() > 0) {
    count_call("stft_window_gradient", "cpu");
    stft_window_gradient_cpu(x, adjoint_job(grad, call, params, x), sums);
  }
  for (std::int64_t i = 0; i < win; ++i) {
    const double value = adjoint_scale(call) * sums[static_cast<std::size_t>((n_fft - win) / 2 + i)];
    if (out.dtype == DType::kFloat64) {
      out.as<double>()[i * out.stride(0)] = value;
    } else {
      out.as<float>()[i * out.stride(0)] = static_cast<float>(value);
    }
  }
}

}  // namespace melisma
