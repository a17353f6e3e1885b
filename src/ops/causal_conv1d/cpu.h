// The CPU kernels' side of the causal convolution: everything checked.
#pragma once

#include "melisma/causal_conv1d.h"
#include "ops/causal_conv1d/support.h"

namespace melisma {

struct ConvJob {
  const Tensor& x;
  const Tensor& weight;
  const CausalConv1dInputs& inputs;
  const CausalConv1dParams& params;
  const ConvCall& call;
};

void causal_conv1d_cpu(const ConvJob& job, const Tensor& out, const Tensor* final_states);
void causal_conv1d_backward_cpu(const ConvJob& job, const Tensor& grad_out, const Tensor* grad_final_states,
                                const CausalConv1dGradients& gradients);

struct ConvUpdateJob {
  const Tensor& x;
  const Tensor& conv_state;
  const Tensor& weight;
  const CausalConv1dUpdateInputs& inputs;
  const CausalConv1dParams& params;
  const ConvUpdateCall& call;
  const Tensor& out;
};
void causal_conv1d_update_cpu(const ConvUpdateJob& job);

}  // namespace melisma
