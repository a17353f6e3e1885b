// The inverse STFT and its gradient on a GPU: jobs from checked calls.
#pragma once

#include "blocks/gpu/job.h"
#include "melisma/istft.h"
#include "melisma/queue.h"
#include "ops/istft/support.h"

namespace melisma {

gpu::InverseJob istft_gpu_job(const Tensor& spec, const Tensor* window, const IstftParams& params,
                              const IstftCall& call, const Tensor& out);
gpu::ForwardJob istft_adjoint_gpu_job(const Tensor& grad, const Tensor* window, const IstftParams& params,
                                      const IstftCall& call, const Tensor& out);

void istft_gpu(const Tensor& spec, const Tensor* window, const IstftParams& params, const IstftCall& call,
               const Tensor& out, const Queue& queue);
Explanation istft_gpu_kernel(const Tensor& spec, const IstftParams& params, const IstftCall& call);
void istft_adjoint_gpu(const Tensor& grad, const Tensor* window, const IstftParams& params, const IstftCall& call,
                       const Tensor& out, const Queue& queue);

}  // namespace melisma
