#include "melisma/filtered_spectrogram.h"

#include <cinttypes>
#include <cmath>

#include "ops/filtered_spectrogram/cpu.h"
#include "ops/filtered_spectrogram/gpu.h"
#include "ops/filtered_spectrogram/support.h"
#include "runtime/check.h"

namespace melisma {
namespace {

constexpr const char* kOp = "filtered_spectrogram";

void check_log(const LogParams& log, const char* op) {
  for (double value : {log.scale, log.mul, log.add, log.floor, log.offset, log.post_mul, log.post_add}) {
    if (!std::isfinite(value)) fail_argument(op, "the logarithm's constants must be finite, got %g", value);
  }
  if (!(log.top >= 0)) fail_argument(op, "top_db must be >= 0, got %g", log.top);
  if (!log.enabled) return;
  if (log.floor < 0) fail_argument(op, "amin must be >= 0, got %g", log.floor);
  if (!(log.floor > 0) && !(log.add > 0)) {
    fail_argument(op, "amin must be > 0 where add is not, got amin = %g, add = %g", log.floor, log.add);
  }
}

}  // namespace

SpectrogramCall check_filtered_spectrogram(const Tensor& x, const FilterBankView& bank,
                                           const FilteredSpectrogramParams& params, const char* op) {
  const SpectrogramCall call = check_spectrogram(x, params.spectrogram, op);
  if (bank.bins() != call.bins) {
    fail_argument(op, "filterbank must have %" PRId64 " bins for n_fft = %" PRId64 ", got %" PRId64, call.bins,
                  call.framing.n_fft, bank.bins());
  }
  check_log(params.log, op);
  return call;
}

const FilterBank& bank_on_host(const FilterBankView& bank, const char* op) {
  if (bank.host() == nullptr) fail_argument(op, "filterbank must be a FilterBank for tensors on the CPU, got a matrix");
  return *bank.host();
}

Shape filtered_spectrogram_shape(const Tensor& x, const FilterBankView& bank, const FilteredSpectrogramParams& params) {
  const SpectrogramCall call = check_filtered_spectrogram(x, bank, params, kOp);
  return spectrogram_result_shape(x, bank.bands(), call.framing.frames, params.spectrogram.layout, kOp);
}

void filtered_spectrogram(const Tensor& x, const Tensor* window, const FilterBankView& bank,
                          const FilteredSpectrogramParams& params, const Tensor& out, const Queue& queue) {
  const Device device =
      check_devices(kOp, {{"input", &x}, {"window", window}, {"filterbank", bank.weights()}, {"out", &out}});
  const SpectrogramCall call = check_filtered_spectrogram(x, bank, params, kOp);
  const Shape shape = filtered_spectrogram_shape(x, bank, params);
  check_real_result(kOp, out, shape, call.double_result ? DType::kFloat64 : DType::kFloat32);
  if (device.type != DeviceType::kCpu) {
    check_window(window, checked_win_length(params.spectrogram.frames.win_length, call.framing.n_fft, kOp), kOp);
    if (shape.numel() > 0) filtered_spectrogram_gpu(x, window, bank, params, call, out, queue);
    return;
  }
  const bool frame_major = params.spectrogram.layout == Layout::kFrameMajor;
  const FilteredSpectrogramJob job{x,
                                   out,
                                   bank_on_host(bank, kOp),
                                   call.framing,
                                   out.stride(frame_major ? -1 : -2),
                                   out.stride(frame_major ? -2 : -1),
                                   params.spectrogram.power,
                                   params.log,
                                   params.float64,
                                   spectrogram_window(window, params.spectrogram, kOp)};
  if (shape.numel() > 0) filtered_spectrogram_cpu(job);
}

Explanation explain_filtered_spectrogram(const Tensor& x, const FilterBankView& bank,
                                         const FilteredSpectrogramParams& params) {
  const SpectrogramCall call = check_filtered_spectrogram(x, bank, params, kOp);
  if (x.device.type != DeviceType::kCpu) return filtered_spectrogram_gpu_kernel(x, bank, params, call);
  return filtered_spectrogram_cpu_kernel(call.framing.n_fft, call.double_result || params.float64);
}

}  // namespace melisma
