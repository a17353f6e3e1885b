#include "melisma/causal_conv1d.h"

#include <string>

#include "ops/causal_conv1d/cpu.h"
#include "ops/causal_conv1d/gpu.h"
#include "ops/causal_conv1d/support.h"
#include "runtime/check.h"

namespace melisma {
namespace {

bool on_cpu(const Tensor& x) { return x.device.type == DeviceType::kCpu; }

}  // namespace

void causal_conv1d(const Tensor& x, const Tensor& weight, const CausalConv1dInputs& inputs,
                   const CausalConv1dParams& params, const Tensor& out, const Tensor* final_states,
                   const Queue& queue) {
  const char* op = "causal_conv1d";
  const ConvCall call = check_causal_conv1d(op, x, weight, inputs, final_states);
  check_conv_output(op, x, x.dtype, x.shape, out, "out");
  if (final_states != nullptr)
    check_conv_output(op, x, final_states->dtype, call.states, *final_states, "final_states");
  if (!on_cpu(x)) return causal_conv1d_gpu(x, weight, inputs, params, call, out, final_states, queue);
  causal_conv1d_cpu({x, weight, inputs, params, call}, out, final_states);
}

void causal_conv1d_backward(const Tensor& grad_out, const Tensor* grad_final_states, const Tensor& x,
                            const Tensor& weight, const CausalConv1dInputs& inputs, const CausalConv1dParams& params,
                            const CausalConv1dGradients& gradients, const Queue& queue) {
  const char* op = "causal_conv1d_backward";
  if (inputs.state_indices != nullptr) fail_argument(op, "state_indices must not be given: pools have no gradient");
  if (inputs.has_initial_state != nullptr) {
    fail_argument(op, "has_initial_state must not be given: pools have no gradient");
  }
  const ConvCall call = check_causal_conv1d(op, x, weight, inputs);
  check_conv_input(op, x, grad_out, x.shape, "grad_out");
  if (grad_final_states != nullptr) check_conv_input(op, x, *grad_final_states, call.states, "grad_final_states");
  const auto check_gradient = [&](const Tensor* t, const Shape& shape, const char* argument) {
    if (t != nullptr) check_conv_output(op, x, t->dtype, shape, *t, argument);
  };
  check_gradient(gradients.x, x.shape, "gradients.x");
  check_gradient(gradients.weight, weight.shape, "gradients.weight");
  check_gradient(gradients.bias, Shape{call.channels}, "gradients.bias");
  check_gradient(gradients.initial_states, call.states, "gradients.initial_states");
  if (!on_cpu(x)) {
    return causal_conv1d_backward_gpu(grad_out, grad_final_states, x, weight, inputs, params, call, gradients, queue);
  }
  causal_conv1d_backward_cpu({x, weight, inputs, params, call}, grad_out, grad_final_states, gradients);
}

void causal_conv1d_update(const Tensor& x, const Tensor& conv_state, const Tensor& weight,
                          const CausalConv1dUpdateInputs& inputs, const CausalConv1dParams& params, const Tensor& out,
                          const Queue& queue) {
  const ConvUpdateCall call = check_causal_conv1d_update(x, conv_state, weight, inputs, out, x.dtype);
  if (!on_cpu(x)) return causal_conv1d_update_gpu(x, conv_state, weight, inputs, params, out, queue);
  causal_conv1d_update_cpu({x, conv_state, weight, inputs, params, call, out});
}

Explanation explain_causal_conv1d(const Tensor& x, const Tensor& weight, const CausalConv1dInputs& inputs,
                                  const Tensor& out) {
  const char* op = "causal_conv1d";
  const ConvCall call = check_causal_conv1d(op, x, weight, inputs);
  check_conv_output(op, x, x.dtype, x.shape, out, "out");
  if (!on_cpu(x)) return causal_conv1d_gpu_kernel(x, weight, inputs, call, out);
  const bool fixed = call.taps >= 2 && call.taps <= 4;
  const std::string taps = std::to_string(call.taps) + (fixed ? " taps in registers" : " taps in a loop");
  const std::string precision = x.dtype == DType::kFloat64 ? ", float64" : ", float32";
  if (conv_channels_contiguous(x, out))
    return {"cpu", "channels-across-lanes", taps + ", channels contiguous" + precision};
  return {"cpu", "steps-across-lanes",
          taps + (x.stride(-1) == 1 && out.stride(-1) == 1 ? ", steps contiguous" : ", steps gathered") + precision};
}

}  // namespace melisma
