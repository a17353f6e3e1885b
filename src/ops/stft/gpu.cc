#include "ops/stft/gpu.h"

#include "blocks/gpu/make_job.h"
#include "blocks/gpu/run.h"

namespace melisma {

gpu::ForwardJob stft_gpu_job(const Tensor& x, const Tensor* window, const StftParams& params, const StftCall& call,
                             const gpu::Grid& out, const char* op) {
  gpu::ForwardJob job;
  job.x = gpu::make_signal(x);
  job.out = out;
  job.items = item_count(x.shape, 1);
  job.framing = call.framing;
  job.window =
      gpu::make_window(window, checked_win_length(params.frames.win_length, call.framing.n_fft, op), call.scale);
  job.complex_input = call.complex_input;
  job.float64 = call.double_result;
  job.bins = call.bins;
  job.real_bins = params.onesided ? RealBins::kHalf : RealBins::kBoth;
  return job;
}

gpu::InverseJob stft_adjoint_gpu_job(const Tensor& grad, const Tensor* window, const StftParams& params,
                                     const StftCall& call, const char* op) {
  gpu::InverseJob job;
  job.items = item_count(grad.shape, 2);
  job.framing = call.framing;
  job.window = gpu::make_window(window, checked_win_length(params.frames.win_length, call.framing.n_fft, op),
                                adjoint_scale(call));
  job.float64 = call.double_result;
  job.spec = gpu::make_grid(grad, params.layout);
  job.bins = adjoint_bins(call, params);
  job.edge_bins = kAdjointEdgeBins;
  return job;
}

void stft_gpu(const Tensor& x, const Tensor* window, const StftParams& params, const StftCall& call, const Tensor& out,
              const Queue& queue) {
  gpu::run("stft", out.device, stft_gpu_job(x, window, params, call, gpu::make_grid(out, params.layout), "stft"),
           queue);
}

Explanation stft_gpu_kernel(const Tensor& x, const StftParams& params, const StftCall& call) {
  const DType dtype = call.double_result ? DType::kComplex128 : DType::kComplex64;
  return gpu::explain("stft", x.device,
                      stft_gpu_job(x, nullptr, params, call, gpu::make_grid(dtype, call.shape, params.layout), "stft"));
}

void stft_adjoint_gpu(const Tensor& grad, const Tensor* window, const StftParams& params, const StftCall& call,
                      const Tensor& out, const Queue& queue) {
  gpu::InverseJob job = stft_adjoint_gpu_job(grad, window, params, call, "stft_adjoint");
  job.out = gpu::make_signal(out);
  gpu::run("stft_adjoint", out.device, job, queue);
}

void stft_window_gradient_gpu(const Tensor& x, const Tensor& grad, const StftParams& params, const StftCall& call,
                              const Tensor& out, const Queue& queue) {
  const char* op = "stft_window_gradient";
  gpu::run(
      op, out.device,
      gpu::WindowJob{gpu::make_signal(x), gpu::make_signal(out), stft_adjoint_gpu_job(grad, nullptr, params, call, op)},
      queue);
}

}  // namespace melisma
