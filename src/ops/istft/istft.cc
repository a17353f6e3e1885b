#include "melisma/istft.h"

#include <algorithm>
#include <cinttypes>
#include <cmath>
#include <limits>

#include "blocks/framing/framing.h"
#include "blocks/overlap_add/envelope.h"
#include "ops/istft/cpu.h"
#include "ops/istft/gpu.h"
#include "ops/istft/support.h"
#include "runtime/check.h"

namespace melisma {
namespace {

constexpr const char* kOp = "istft";

}  // namespace

IstftCall check_istft(const Tensor& spec, const IstftParams& params, const char* op, const char* argument) {
  if (spec.ndim() < 2)
    fail_argument(op, "%s must have at least 2 dimensions [bins, frames], got %d", argument, spec.ndim());
  if (!is_complex(spec.dtype))
    fail_type(op, "%s must be complex64 or complex128, got %s", argument, dtype_name(spec.dtype));
  IstftCall call;
  call.n_fft = checked_n_fft(params.n_fft, op);
  call.hop = checked_hop_length(params.hop_length, call.n_fft, op);
  call.win_length = checked_win_length(params.win_length, call.n_fft, op);
  const bool frame_major = params.layout == Layout::kFrameMajor;
  call.bins = params.onesided ? call.n_fft / 2 + 1 : call.n_fft;
  call.frames = spec.size(frame_major ? -2 : -1);
  const std::int64_t bins = spec.size(frame_major ? -1 : -2);
  if (bins != call.bins) {
    fail_argument(op, "%s must have %" PRId64 " bins for n_fft = %" PRId64 " and onesided = %s, got %" PRId64, argument,
                  call.bins, call.n_fft, params.onesided ? "true" : "false", bins);
  }
  if (call.frames < 1) fail_argument(op, "%s must have at least one frame, got %" PRId64, argument, call.frames);
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max() / 16;
  if (call.hop > (kMax - call.n_fft) / call.frames) {
    fail_argument(op, "hop_length times frames must be below %" PRId64 ", got %" PRId64 " times %" PRId64, kMax,
                  call.hop, call.frames);
  }
  const std::int64_t full = call.n_fft + call.hop * (call.frames - 1);
  call.first = params.center ? call.n_fft / 2 : 0;
  if (params.length < -1 || params.length > kMax) fail_argument(op, "length must be >= 0, got %" PRId64, params.length);
  call.samples = params.length >= 0 ? params.length : full - (params.center ? call.n_fft / 2 * 2 : 0);
  if (params.length < 0 && call.samples < 1) {
    fail_argument(op, "frames must give at least one sample, got %" PRId64 " frames of n_fft = %" PRId64 " with center",
                  call.frames, call.n_fft);
  }
  call.double_result = spec.dtype == DType::kComplex128;
  call.shape = spec.shape;
  call.shape.ndim = spec.ndim() - 1;
  call.shape[-1] = call.samples;
  call.shape.numel();  // refuses results that int64 cannot count
  call.framing = {call.samples, call.n_fft, call.frames, call.hop, 0.0, call.first, 0, PadMode::kConstant};
  call.scale = params.normalized ? std::sqrt(static_cast<double>(call.n_fft)) : 1.0;
  return call;
}

Shape istft_shape(const Tensor& spec, const IstftParams& params) {
  return check_istft(spec, params, kOp, "input").shape;
}

void istft(const Tensor& spec, const Tensor* window, const IstftParams& params, const Tensor& out, const Queue& queue) {
  const Device device = check_devices(kOp, {{"input", &spec}, {"window", window}, {"out", &out}});
  const IstftCall call = check_istft(spec, params, kOp, "input");
  const bool complex_result = is_complex(out.dtype);
  if (complex_result && params.onesided) fail_argument(kOp, "onesided must be false for a complex result, got true");
  const DType real = call.double_result ? DType::kFloat64 : DType::kFloat32;
  check_real_result(kOp, out, call.shape, complex_result ? spec.dtype : real);
  if (device.type != DeviceType::kCpu) {
    check_window(window, call.win_length, kOp);
    if (call.shape.numel() > 0) istft_gpu(spec, window, params, call, out, queue);
    return;
  }
  const bool frame_major = params.layout == Layout::kFrameMajor;
  const InverseJob job{spec,
                       out,
                       call.framing,
                       spec.stride(frame_major ? -1 : -2),
                       spec.stride(frame_major ? -2 : -1),
                       complex_result ? BinSet::kAll : BinSet::kHalf,
                       1.0,
                       padded_window(window, call.n_fft, call.win_length, 1.0, kOp),
                       EnvelopeRule{params.edge, call.scale, kOp}};
  if (call.shape.numel() > 0) istft_cpu(job);
}

Explanation explain_istft(const Tensor& spec, const IstftParams& params) {
  const IstftCall call = check_istft(spec, params, kOp, "input");
  if (spec.device.type != DeviceType::kCpu) return istft_gpu_kernel(spec, params, call);
  return istft_cpu_kernel(call.n_fft, false, call.double_result);
}

void check_istft_envelope(const Tensor* window, const IstftParams& params, std::int64_t frames) {
  if (window != nullptr) check_on_cpu(kOp, *window, "window");
  const std::int64_t bins = params.onesided ? params.n_fft / 2 + 1 : params.n_fft;
  const bool frame_major = params.layout == Layout::kFrameMajor;
  const Shape shape = frame_major ? Shape{frames, bins} : Shape{bins, frames};
  const IstftCall call = check_istft(Tensor(nullptr, DType::kComplex64, shape), params, kOp, "input");
  const std::int64_t end = std::min(call.first + call.samples, call.n_fft + call.hop * (call.frames - 1));
  Envelope<float>(padded_window(window, call.n_fft, call.win_length, 1.0, kOp), call.hop, call.frames, call.first, end,
                  EdgePolicy::kError, 1.0, kOp);
}

}  // namespace melisma
