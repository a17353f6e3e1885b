// The causal convolution on a GPU: jobs from checked calls.
#pragma once

#include "blocks/gpu/conv/job.h"
#include "melisma/causal_conv1d.h"
#include "melisma/queue.h"
#include "melisma/runtime.h"
#include "ops/causal_conv1d/support.h"

namespace melisma {

gpu::ConvForwardJob conv_gpu_job(const Tensor& x, const Tensor& weight, const CausalConv1dInputs& inputs,
                                 const CausalConv1dParams& params, const ConvCall& call, const Tensor& out,
                                 const Tensor* final_states);

gpu::ConvBackwardJob conv_backward_gpu_job(const Tensor& grad_out, const Tensor* grad_final_states, const Tensor& x,
                                           const Tensor& weight, const CausalConv1dInputs& inputs,
                                           const CausalConv1dParams& params, const ConvCall& call,
                                           const CausalConv1dGradients& gradients);

// x: [B, D] or [B, D, T], everything else checked but for what indices hold.
gpu::ConvUpdateJob conv_update_gpu_job(const Tensor& x, const Tensor& conv_state, const Tensor& weight,
                                       const CausalConv1dUpdateInputs& inputs, const CausalConv1dParams& params,
                                       const Tensor& out);

void causal_conv1d_gpu(const Tensor& x, const Tensor& weight, const CausalConv1dInputs& inputs,
                       const CausalConv1dParams& params, const ConvCall& call, const Tensor& out,
                       const Tensor* final_states, const Queue& queue);
void causal_conv1d_backward_gpu(const Tensor& grad_out, const Tensor* grad_final_states, const Tensor& x,
                                const Tensor& weight, const CausalConv1dInputs& inputs,
                                const CausalConv1dParams& params, const ConvCall& call,
                                const CausalConv1dGradients& gradients, const Queue& queue);
void causal_conv1d_update_gpu(const Tensor& x, const Tensor& conv_state, const Tensor& weight,
                              const CausalConv1dUpdateInputs& inputs, const CausalConv1dParams& params,
                              const Tensor& out, const Queue& queue);
Explanation causal_conv1d_gpu_kernel(const Tensor& x, const Tensor& weight, const CausalConv1dInputs& inputs,
                                     const ConvCall& call, const Tensor& out);

}  // namespace melisma
