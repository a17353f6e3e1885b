#include "ops/istft/gpu.h"

#include "blocks/gpu/make_job.h"
#include "blocks/gpu/run.h"

namespace melisma {

gpu::InverseJob istft_gpu_job(const Tensor& spec, const Tensor* window, const IstftParams& params,
                              const IstftCall& call, const Tensor& out) {
  gpu::InverseJob job;
  job.out = gpu::make_signal(out);
  job.items = item_count(spec.shape, 2);
  job.framing = call.framing;
  job.window = job.envelope_window = gpu::make_window(window, call.win_length, 1.0);
  job.float64 = call.double_result;
  job.spec = gpu::make_grid(spec, params.layout);
  job.bins = is_complex(out.dtype) ? BinSet::kAll : BinSet::kHalf;
  job.envelope = {true, params.edge, call.scale};
  return job;
}

gpu::ForwardJob istft_adjoint_gpu_job(const Tensor& grad, const Tensor* window, const IstftParams& params,
                                      const IstftCall& call, const Tensor& out) {
  gpu::ForwardJob job;
  job.x = gpu::make_signal(grad);
  job.out = gpu::make_grid(out, params.layout);
  job.items = item_count(out.shape, 2);
  job.framing = call.framing;
  job.complex_input = is_complex(grad.dtype);
  job.window = gpu::make_window(window, call.win_length, istft_adjoint_scale(job.complex_input));
  job.float64 = call.double_result;
  job.envelope = {true, params.edge, call.scale};
  job.envelope_window = gpu::make_window(window, call.win_length, 1.0);
  job.bins = call.bins;
  job.real_bins = RealBins::kAdjoint;
  return job;
}

void istft_gpu(const Tensor& spec, const Tensor* window, const IstftParams& params, const IstftCall& call,
               const Tensor& out, const Queue& queue) {
  gpu::run("istft", out.device, istft_gpu_job(spec, window, params, call, out), queue);
}

Explanation istft_gpu_kernel(const Tensor& spec, const IstftParams& params, const IstftCall& call) {
  const Tensor out(nullptr, call.double_result ? DType::kFloat64 : DType::kFloat32, call.shape, spec.device);
  return gpu::explain("istft", spec.device, istft_gpu_job(spec, nullptr, params, call, out));
}

void istft_adjoint_gpu(const Tensor& grad, const Tensor* window, const IstftParams& params, const IstftCall& call,
                       const Tensor& out, const Queue& queue) {
  gpu::run("istft_adjoint", out.device, istft_adjoint_gpu_job(grad, window, params, call, out), queue);
}

}  // namespace melisma
