// The STFT and its gradients on a GPU: jobs from checked calls.
#pragma once

#include "blocks/gpu/job.h"
#include "melisma/queue.h"
#include "melisma/stft.h"
#include "ops/stft/support.h"

namespace melisma {

gpu::ForwardJob stft_gpu_job(const Tensor& x, const Tensor* window, const StftParams& params, const StftCall& call,
                             const gpu::Grid& out, const char* op);
// Everything but where the samples go.
gpu::InverseJob stft_adjoint_gpu_job(const Tensor& grad, const Tensor* window, const StftParams& params,
                                     const StftCall& call, const char* op);

void stft_gpu(const Tensor& x, const Tensor* window, const StftParams& params, const StftCall& call, const Tensor& out,
              const Queue& queue);
Explanation stft_gpu_kernel(const Tensor& x, const StftParams& params, const StftCall& call);
void stft_adjoint_gpu(const Tensor& grad, const Tensor* window, const StftParams& params, const StftCall& call,
                      const Tensor& out, const Queue& queue);
void stft_window_gradient_gpu(const Tensor& x, const Tensor& grad, const StftParams& params, const StftCall& call,
                              const Tensor& out, const Queue& queue);

}  // namespace melisma
