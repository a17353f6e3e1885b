#include "ops/filtered_spectrogram/gpu.h"

#include "blocks/gpu/make_job.h"
#include "blocks/gpu/run.h"
#include "ops/spectrogram/gpu.h"

namespace melisma {
namespace {

gpu::PowerJob power_job(const Tensor& x, const FilterBankView& bank, const FilteredSpectrogramParams& params,
                        const char* op) {
  gpu::PowerJob power;
  power.power = params.spectrogram.power;
  power.bank = gpu::make_bank(bank, x.device, op);
  power.log = params.log;
  power.top_items = params.log.top_scope == TopScope::kPacked && x.ndim() >= 2 ? x.size(-2) : 1;
  return power;
}

}  // namespace

gpu::ForwardJob filtered_spectrogram_gpu_job(const Tensor& x, const Tensor* window, const FilterBankView& bank,
                                             const FilteredSpectrogramParams& params, const SpectrogramCall& call,
                                             const gpu::Grid& out, const char* op) {
  gpu::ForwardJob job = spectrogram_gpu_job(x, window, params.spectrogram, call, out, op);
  job.float64 = call.double_result || params.float64;
  job.epilogue = gpu::Epilogue::kBands;
  job.power = power_job(x, bank, params, op);
  return job;
}

gpu::InverseJob filtered_spectrogram_backward_gpu_job(const Tensor& x, const Tensor& grad, const Tensor* window,
                                                      const FilterBankView& bank,
                                                      const FilteredSpectrogramParams& params,
                                                      const SpectrogramCall& call, const Tensor& out, const char* op) {
  gpu::InverseJob job = spectrogram_backward_gpu_job(x, grad, window, params.spectrogram, call, out, op);
  job.float64 = call.double_result || params.float64;
  job.power = power_job(x, bank, params, op);
  job.bands = true;
  return job;
}

void filtered_spectrogram_gpu(const Tensor& x, const Tensor* window, const FilterBankView& bank,
                              const FilteredSpectrogramParams& params, const SpectrogramCall& call, const Tensor& out,
                              const Queue& queue) {
  const char* op = "filtered_spectrogram";
  const gpu::Grid grid = gpu::make_grid(out, params.spectrogram.layout);
  gpu::run(op, out.device, filtered_spectrogram_gpu_job(x, window, bank, params, call, grid, op), queue);
}

Explanation filtered_spectrogram_gpu_kernel(const Tensor& x, const FilterBankView& bank,
                                            const FilteredSpectrogramParams& params, const SpectrogramCall& call) {
  const char* op = "filtered_spectrogram";
  const Layout layout = params.spectrogram.layout;
  const Shape shape = spectrogram_result_shape(x, bank.bands(), call.framing.frames, layout, op);
  const gpu::Grid out = gpu::make_grid(call.double_result ? DType::kFloat64 : DType::kFloat32, shape, layout);
  return gpu::explain(op, x.device, filtered_spectrogram_gpu_job(x, nullptr, bank, params, call, out, op));
}

void filtered_spectrogram_backward_gpu(const Tensor& x, const Tensor& grad, const Tensor* window,
                                       const FilterBankView& bank, const FilteredSpectrogramParams& params,
                                       const SpectrogramCall& call, const Tensor& out, const Queue& queue) {
  const char* op = "filtered_spectrogram_backward";
  gpu::run(op, out.device, filtered_spectrogram_backward_gpu_job(x, grad, window, bank, params, call, out, op), queue);
}

}  // namespace melisma
