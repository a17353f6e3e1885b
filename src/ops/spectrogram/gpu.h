// The magnitude spectrogram and its gradient on a GPU, and the jobs of what is built on it.
#pragma once

#include "blocks/gpu/job.h"
#include "melisma/queue.h"
#include "melisma/spectrogram.h"
#include "ops/spectrogram/support.h"

namespace melisma {

// Everything but the bank and the logarithm.
gpu::ForwardJob spectrogram_gpu_job(const Tensor& x, const Tensor* window, const SpectrogramParams& params,
                                    const SpectrogramCall& call, const gpu::Grid& out, const char* op);
gpu::InverseJob spectrogram_backward_gpu_job(const Tensor& x, const Tensor& grad, const Tensor* window,
                                             const SpectrogramParams& params, const SpectrogramCall& call,
                                             const Tensor& out, const char* op);

void spectrogram_gpu(const Tensor& x, const Tensor* window, const SpectrogramParams& params,
                     const SpectrogramCall& call, const Tensor& out, const Queue& queue);
Explanation spectrogram_gpu_kernel(const Tensor& x, const SpectrogramParams& params, const SpectrogramCall& call);
void spectrogram_backward_gpu(const Tensor& x, const Tensor& grad, const Tensor* window,
                              const SpectrogramParams& params, const SpectrogramCall& call, const Tensor& out,
                              const Queue& queue);

}  // namespace melisma
