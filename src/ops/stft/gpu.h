// The STFT and its gradients on a GPU: jobs from checked calls.
#pragma once

#include "melisma/stft.h"
#include "ops/stft/support.h"

namespace melisma {

void stft_gpu(const Tensor& x, const Tensor* window, const StftParams& params, const StftCall& call, const Tensor& out,
              const Queue& queue);
Explanation stft_gpu_kernel(const Tensor& x, const StftParams& params, const StftCall& call);
void stft_adjoint_gpu(const Tensor& grad, const Tensor* window, const StftParams& params, const StftCall& call,
                      const Tensor& out, const Queue& queue);
void stft_window_gradient_gpu(const Tensor& x, const Tensor& grad, const StftParams& params, const StftCall& call,
                              const Tensor& out, const Queue& queue);

}  // namespace melisma
