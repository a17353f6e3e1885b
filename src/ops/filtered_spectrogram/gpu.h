// The filtered spectrogram and its gradient on a GPU: jobs from checked calls.
#pragma once

#include "blocks/gpu/job.h"
#include "melisma/filtered_spectrogram.h"
#include "melisma/queue.h"
#include "ops/spectrogram/support.h"

namespace melisma {

gpu::ForwardJob filtered_spectrogram_gpu_job(const Tensor& x, const Tensor* window, const FilterBankView& bank,
                                             const FilteredSpectrogramParams& params, const SpectrogramCall& call,
                                             const gpu::Grid& out, const char* op);
gpu::InverseJob filtered_spectrogram_backward_gpu_job(const Tensor& x, const Tensor& grad, const Tensor* window,
                                                      const FilterBankView& bank,
                                                      const FilteredSpectrogramParams& params,
                                                      const SpectrogramCall& call, const Tensor& out, const char* op);

void filtered_spectrogram_gpu(const Tensor& x, const Tensor* window, const FilterBankView& bank,
                              const FilteredSpectrogramParams& params, const SpectrogramCall& call, const Tensor& out,
                              const Queue& queue);
Explanation filtered_spectrogram_gpu_kernel(const Tensor& x, const FilterBankView& bank,
                                            const FilteredSpectrogramParams& params, const SpectrogramCall& call);
void filtered_spectrogram_backward_gpu(const Tensor& x, const Tensor& grad, const Tensor* window,
                                       const FilterBankView& bank, const FilteredSpectrogramParams& params,
                                       const SpectrogramCall& call, const Tensor& out, const Queue& queue);

}  // namespace melisma
