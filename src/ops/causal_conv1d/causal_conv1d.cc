#include "melisma/causal_conv1d.h"

#include <string>

#include "ops/causal_conv1d/cpu.h"
#include "ops/causal_conv1d/support.h"
#include "runtime/check.h"

namespace melisma {

void causal_conv1d(const Tensor& x, const Tensor& weight, const CausalConv1dInputs& inputs,
                   const CausalConv1dParams& params, const Tensor& out, const Tensor* final_states) {
  const char* op = "causal_conv1d";
  check_on_cpu(op, x, "x");
  const ConvCall call = check_causal_conv1d(op, x, weight, inputs);
  check_conv_output(op, x, x.dtype, x.shape, out, "out");
  if (final_states != nullptr)
    check_conv_output(op, x, final_states->dtype, call.states, *final_states, "final_states");
  causal_conv1d_cpu({x, weight, inputs, params, call}, out, final_states);
}

void causal_conv1d_backward(const Tensor& grad_out, const Tensor* grad_final_states, const Tensor& x,
                            const Tensor& weight, const CausalConv1dInputs& inputs, const CausalConv1dParams& params,
                            const CausalConv1dGradients& gradients) {
  const char* op = "causal_conv1d_backward";
  check_on_cpu(op, x, "x");
  const ConvCall call = check_causal_conv1d(op, x, weight, inputs);
  const auto check_input = [&](const Tensor& t, const Shape& shape, const char* argument) {
    check_on_cpu(op, t, argument);
    check_conv_tensor(op, t, shape, argument);
  };
  check_input(grad_out, x.shape, "grad_out");
  if (grad_final_states != nullptr) check_input(*grad_final_states, call.states, "grad_final_states");
  const auto check_gradient = [&](const Tensor* t, const Shape& shape, const char* argument) {
    if (t != nullptr) check_conv_output(op, x, t->dtype, shape, *t, argument);
  };
  check_gradient(gradients.x, x.shape, "gradients.x");
  check_gradient(gradients.weight, weight.shape, "gradients.weight");
  check_gradient(gradients.bias, Shape{call.channels}, "gradients.bias");
  check_gradient(gradients.initial_states, call.states, "gradients.initial_states");
  causal_conv1d_backward_cpu({x, weight, inputs, params, call}, grad_out, grad_final_states, gradients);
}

void causal_conv1d_update(const Tensor& x, const Tensor& conv_state, const Tensor& weight,
                          const CausalConv1dUpdateInputs& inputs, const CausalConv1dParams& params, const Tensor& out) {
  check_on_cpu("causal_conv1d_update", x, "x");
  const ConvUpdateCall call = check_causal_conv1d_update(x, conv_state, weight, inputs, out, x.dtype);
  causal_conv1d_update_cpu({x, conv_state, weight, inputs, params, call, out});
}

Explanation explain_causal_conv1d(const Tensor& x, const Tensor& weight, const CausalConv1dInputs& inputs,
                                  const Tensor& out) {
  const char* op = "causal_conv1d";
  check_on_cpu(op, x, "x");
  const ConvCall call = check_causal_conv1d(op, x, weight, inputs);
  check_conv_output(op, x, x.dtype, x.shape, out, "out");
  const bool fixed = call.taps >= 2 && call.taps <= 4;
  const std::string taps = std::to_string(call.taps) + (fixed ? " taps in registers" : " taps in a loop");
  const std::string precision = x.dtype == DType::kFloat64 ? ", float64" : ", float32";
  if (conv_channels_contiguous(x, out))
    return {"cpu", "channels-across-lanes", taps + ", channels contiguous" + precision};
  return {"cpu", "steps-across-lanes",
          taps + (x.stride(-1) == 1 && out.stride(-1) == 1 ? ", steps contiguous" : ", steps gathered") + precision};
}

}  // namespace melisma
