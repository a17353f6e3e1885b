#include "ops/spectrogram/gpu.h"

#include "blocks/gpu/make_job.h"
#include "blocks/gpu/run.h"

namespace melisma {
namespace {

gpu::Window window_of(const Tensor* window, const SpectrogramParams& params, const char* op) {
  const std::int64_t win_length = checked_win_length(params.frames.win_length, params.frames.n_fft, op);
  gpu::Window result = gpu::make_window(window, win_length, spectrogram_scale(params));
  result.unit_energy = params.norm == SpectrumNorm::kWindow;
  return result;
}

}  // namespace

gpu::ForwardJob spectrogram_gpu_job(const Tensor& x, const Tensor* window, const SpectrogramParams& params,
                                    const SpectrogramCall& call, const gpu::Grid& out, const char* op) {
  gpu::ForwardJob job;
  job.x = gpu::make_signal(x);
  job.out = out;
  job.items = item_count(x.shape, 1);
  job.framing = call.framing;
  job.window = window_of(window, params, op);
  job.float64 = call.double_result;
  job.epilogue = gpu::Epilogue::kPower;
  job.bins = call.bins;
  job.power.power = params.power;
  return job;
}

gpu::InverseJob spectrogram_backward_gpu_job(const Tensor& x, const Tensor& grad, const Tensor* window,
                                             const SpectrogramParams& params, const SpectrogramCall& call,
                                             const Tensor& out, const char* op) {
  gpu::InverseJob job;
  job.out = gpu::make_signal(out);
  job.items = item_count(x.shape, 1);
  job.framing = call.framing;
  job.window = window_of(window, params, op);
  job.float64 = call.double_result;
  job.spec = gpu::make_grid(grad, params.layout);
  job.x = gpu::make_signal(x);
  job.power.power = params.power;
  job.bin_count = call.bins;
  return job;
}

void spectrogram_gpu(const Tensor& x, const Tensor* window, const SpectrogramParams& params,
                     const SpectrogramCall& call, const Tensor& out, const Queue& queue) {
  const char* op = "spectrogram";
  gpu::run(op, out.device, spectrogram_gpu_job(x, window, params, call, gpu::make_grid(out, params.layout), op), queue);
}

Explanation spectrogram_gpu_kernel(const Tensor& x, const SpectrogramParams& params, const SpectrogramCall& call) {
  const char* op = "spectrogram";
  const Shape shape = spectrogram_result_shape(x, call.bins, call.framing.frames, params.layout, op);
  const gpu::Grid out = gpu::make_grid(call.double_result ? DType::kFloat64 : DType::kFloat32, shape, params.layout);
  return gpu::explain(op, x.device, spectrogram_gpu_job(x, nullptr, params, call, out, op));
}

void spectrogram_backward_gpu(const Tensor& x, const Tensor& grad, const Tensor* window,
                              const SpectrogramParams& params, const SpectrogramCall& call, const Tensor& out,
                              const Queue& queue) {
  const char* op = "spectrogram_backward";
  gpu::run(op, out.device, spectrogram_backward_gpu_job(x, grad, window, params, call, out, op), queue);
}

}  // namespace melisma
