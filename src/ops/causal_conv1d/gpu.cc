#include "ops/causal_conv1d/gpu.h"

#include "blocks/framing/framing.h"
#include "blocks/gpu/make_job.h"
#include "blocks/gpu/run.h"

namespace melisma {
namespace {

gpu::ConvSeries make_series(const Tensor& t) {
  return {t.data, t.dtype, t.stride(-2), t.stride(-1), gpu::leading_axes(t, 2)};
}
gpu::ConvSeries make_series(const Tensor* t) { return t == nullptr ? gpu::ConvSeries() : make_series(*t); }

gpu::ConvSteps make_steps(const Tensor* t) {
  if (t == nullptr) return {};
  return {t->data, t->dtype, t->stride(-1), gpu::leading_axes(*t, 1)};
}
gpu::ConvSteps make_steps(const IndexTensor* t) {
  if (t == nullptr) return {};
  Tensor view;
  view.shape = t->shape;
  view.strides = t->strides;
  return {t->data, DType::kFloat32, view.stride(-1), gpu::leading_axes(view, 1)};
}
gpu::ConvIndices make_indices(const IndexTensor* t) {
  return t == nullptr ? gpu::ConvIndices() : gpu::ConvIndices{t->data, t->is_int64, t->stride(0)};
}

gpu::ConvMatrix make_matrix(const Tensor* t) {
  if (t == nullptr) return {};
  return {t->data, t->dtype, t->stride(0), t->ndim() > 1 ? t->stride(1) : 0};
}

gpu::ConvInputsJob inputs_job(const Tensor& x, const Tensor& weight, const CausalConv1dInputs& inputs,
                              const CausalConv1dParams& params, const ConvCall& call) {
  gpu::ConvInputsJob job;
  job.x = make_series(x);
  job.initial_states = make_series(inputs.initial_states);
  job.weight = make_matrix(&weight);
  job.bias = make_matrix(inputs.bias);
  job.mask = make_steps(inputs.mask);
  job.seq_idx = make_steps(inputs.seq_idx);
  job.cu_seqlens = make_indices(inputs.cu_seqlens);
  job.items = item_count(x.shape, 2);
  job.channels = call.channels;
  job.steps = call.steps;
  job.sequences = inputs.cu_seqlens != nullptr ? inputs.cu_seqlens->size(0) - 1 : job.items;
  job.state_indices = make_indices(inputs.state_indices);
  job.pad_slot = inputs.pad_slot;
  job.state_rows = item_count(call.states, 2);
  if (inputs.has_initial_state != nullptr) {
    job.has_initial_state = inputs.has_initial_state->data;
    job.has_initial_stride = inputs.has_initial_state->stride(0);
  }
  job.taps = static_cast<int>(call.taps);
  job.silu = params.activation == ConvActivation::kSilu;
  job.residual = params.residual;
  return job;
}

// [B, D] as [B, D, 1].
gpu::ConvSeries make_new_steps(const Tensor& t) {
  if (t.ndim() == 3) return make_series(t);
  return {t.data, t.dtype, t.stride(1), 0, gpu::leading_axes(t, 1)};
}

}  // namespace

gpu::ConvForwardJob conv_gpu_job(const Tensor& x, const Tensor& weight, const CausalConv1dInputs& inputs,
                                 const CausalConv1dParams& params, const ConvCall& call, const Tensor& out,
                                 const Tensor* final_states) {
  return {inputs_job(x, weight, inputs, params, call), make_series(out), make_series(final_states)};
}

gpu::ConvBackwardJob conv_backward_gpu_job(const Tensor& grad_out, const Tensor* grad_final_states, const Tensor& x,
                                           const Tensor& weight, const CausalConv1dInputs& inputs,
                                           const CausalConv1dParams& params, const ConvCall& call,
                                           const CausalConv1dGradients& gradients) {
  gpu::ConvBackwardJob job;
  job.in = inputs_job(x, weight, inputs, params, call);
  job.grad_out = make_series(grad_out);
  job.grad_final_states = make_series(grad_final_states);
  job.x = make_series(gradients.x);
  job.initial_states = make_series(gradients.initial_states);
  job.weight = make_matrix(gradients.weight);
  job.bias = make_matrix(gradients.bias);
  return job;
}

gpu::ConvUpdateJob conv_update_gpu_job(const Tensor& x, const Tensor& conv_state, const Tensor& weight,
                                       const CausalConv1dUpdateInputs& inputs, const CausalConv1dParams& params,
                                       const Tensor& out) {
  gpu::ConvUpdateJob job;
  job.x = make_new_steps(x);
  job.out = make_new_steps(out);
  job.state = make_series(conv_state);
  job.weight = make_matrix(&weight);
  job.bias = make_matrix(inputs.bias);
  job.cache_seqlens = make_indices(inputs.cache_seqlens);
  job.conv_state_indices = make_indices(inputs.conv_state_indices);
  job.num_accepted_tokens = make_indices(inputs.num_accepted_tokens);
  job.pad_slot = inputs.pad_slot;
  job.items = x.size(0);
  job.channels = x.size(1);
  job.steps = x.ndim() == 3 ? x.size(2) : 1;
  job.places = conv_state.size(2);
  job.rows = conv_state.size(0);
  job.taps = static_cast<int>(weight.size(1));
  job.silu = params.activation == ConvActivation::kSilu;
  job.residual = params.residual;
  return job;
}

void causal_conv1d_gpu(const Tensor& x, const Tensor& weight, const CausalConv1dInputs& inputs,
                       const CausalConv1dParams& params, const ConvCall& call, const Tensor& out,
                       const Tensor* final_states, const Queue& queue) {
  gpu::run("causal_conv1d", x.device, conv_gpu_job(x, weight, inputs, params, call, out, final_states), queue);
}

void causal_conv1d_backward_gpu(const Tensor& grad_out, const Tensor* grad_final_states, const Tensor& x,
                                const Tensor& weight, const CausalConv1dInputs& inputs,
                                const CausalConv1dParams& params, const ConvCall& call,
                                const CausalConv1dGradients& gradients, const Queue& queue) {
  gpu::run("causal_conv1d_backward", x.device,
           conv_backward_gpu_job(grad_out, grad_final_states, x, weight, inputs, params, call, gradients), queue);
}

void causal_conv1d_update_gpu(const Tensor& x, const Tensor& conv_state, const Tensor& weight,
                              const CausalConv1dUpdateInputs& inputs, const CausalConv1dParams& params,
                              const Tensor& out, const Queue& queue) {
  gpu::run("causal_conv1d_update", x.device, conv_update_gpu_job(x, conv_state, weight, inputs, params, out), queue);
}

Explanation causal_conv1d_gpu_kernel(const Tensor& x, const Tensor& weight, const CausalConv1dInputs& inputs,
                                     const ConvCall& call, const Tensor& out) {
  return gpu::explain("causal_conv1d", x.device, conv_gpu_job(x, weight, inputs, {}, call, out, nullptr));
}

}  // namespace melisma
