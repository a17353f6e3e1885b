// The causal convolution as its definition says it, in float64.
#include <cmath>
#include <vector>

#include "blocks/elementwise/scalar_types.h"
#include "blocks/framing/framing.h"
#include "melisma/causal_conv1d.h"
#include "ops/causal_conv1d/support.h"
#include "runtime/check.h"

namespace melisma {
namespace {

double load(const Tensor& t, std::int64_t offset) {
  double value = 0;
  with_element(t.dtype, [&]<typename E>(E) { value = to_scalar<double>(static_cast<const E*>(t.data)[offset]); });
  return value;
}

void add(const Tensor& t, std::int64_t offset, double value) { t.as<double>()[offset] += value; }

double sigmoid(double h) { return h >= 0 ? 1 / (1 + std::exp(-h)) : std::exp(h) / (1 + std::exp(h)); }
double activate(double h, ConvActivation activation) {
  return activation == ConvActivation::kSilu ? h * sigmoid(h) : h;
}
double slope(double h, ConvActivation activation) {
  return activation == ConvActivation::kSilu ? sigmoid(h) * (1 + h * sigmoid(-h)) : 1.0;
}

// Offset of a value [sequence's item, d, step] of a tensor of x's shape, and of [sequence, d, j] of states.
std::int64_t at_step(const Tensor& t, const ConvSequence& s, std::int64_t d, std::int64_t step) {
  return item_offset(t, 2, s.item) + d * t.stride(-2) + (s.start + step) * t.stride(-1);
}
std::int64_t at_state(const Tensor& t, const ConvSequence& s, std::int64_t d, std::int64_t j) {
  return item_offset(t, 2, s.state) + d * t.stride(-2) + j * t.stride(-1);
}

// What the taps of a call are.
struct Taps {
  const Tensor& x;
  const CausalConv1dInputs& inputs;
  const ConvCall& call;

  double mask(const ConvSequence& s, std::int64_t step) const {
    if (inputs.mask == nullptr) return 1;
    const Tensor& m = *inputs.mask;
    return load(m, item_offset(m, 1, s.item) + (s.start + step) * m.stride(-1));
  }
  std::int64_t index(const ConvSequence& s, std::int64_t step) const {
    if (inputs.seq_idx == nullptr) return 0;
    Tensor view;
    view.shape = inputs.seq_idx->shape;
    view.strides = inputs.seq_idx->strides;
    return inputs.seq_idx->at(item_offset(view, 1, s.item) +
                              (s.start + std::max<std::int64_t>(step, 0)) * view.stride(-1));
  }
  // The tap of a channel at a step, which may lie before 0.
  double at(const ConvSequence& s, std::int64_t d, std::int64_t step) const {
    if (step >= 0) return mask(s, step) * load(x, at_step(x, s, d, step));
    if (!s.initial) return 0;
    return load(*inputs.initial_states, at_state(*inputs.initial_states, s, d, call.taps - 1 + step));
  }
  bool counts(const ConvSequence& s, std::int64_t from, std::int64_t to) const {
    return index(s, from) == index(s, to);
  }
};

void check_float64(const char* op, const Tensor* t, const Shape& shape, const char* argument) {
  if (t != nullptr) check_result(op, *t, shape, DType::kFloat64, argument);
}

void clear(const Tensor* t) {
  if (t == nullptr) return;
  for (std::int64_t item = 0; item < t->shape.numel(); ++item) t->as<double>()[item_offset(*t, 0, item)] = 0;
}

double pre_activation(const Taps& taps, const Tensor& weight, const ConvSequence& s, std::int64_t d, std::int64_t t) {
  double h = taps.inputs.bias == nullptr ? 0 : load(*taps.inputs.bias, d * taps.inputs.bias->stride(0));
  for (std::int64_t k = 0; k < taps.call.taps; ++k) {
    const std::int64_t from = t - (taps.call.taps - 1) + k;
    const double tap = taps.counts(s, from, t) ? taps.at(s, d, from) : 0;
    h += load(weight, d * weight.stride(0) + k * weight.stride(1)) * tap;
  }
  return h;
}

}  // namespace

void causal_conv1d_reference(const Tensor& x, const Tensor& weight, const CausalConv1dInputs& inputs,
                             const CausalConv1dParams& params, const Tensor& out, const Tensor* final_states) {
  const char* op = "causal_conv1d_reference";
  const ConvCall call = check_causal_conv1d(op, x, weight, inputs, final_states);
  check_float64(op, &out, x.shape, "out");
  check_float64(op, final_states, call.states, "final_states");
  const Taps taps{x, inputs, call};
  for (const ConvSequence& s : call.sequences) {
    for (std::int64_t d = 0; d < call.channels; ++d) {
      for (std::int64_t t = 0; t < s.length; ++t) {
        double y = activate(pre_activation(taps, weight, s, d, t), params.activation);
        if (params.residual) y += load(x, at_step(x, s, d, t));
        out.as<double>()[at_step(out, s, d, t)] = taps.index(s, t) < 0 ? 0 : y;
      }
      if (final_states == nullptr || s.state < 0) continue;
      for (std::int64_t j = 0; j < call.taps - 1; ++j) {
        const std::int64_t from = s.length - (call.taps - 1) + j, last = s.length - 1;
        const bool counts = s.length == 0 || (taps.counts(s, from, last) && taps.index(s, last) >= 0);
        final_states->as<double>()[at_state(*final_states, s, d, j)] = counts ? taps.at(s, d, from) : 0;
      }
    }
  }
}

void causal_conv1d_backward_reference(const Tensor& grad_out, const Tensor* grad_final_states, const Tensor& x,
                                      const Tensor& weight, const CausalConv1dInputs& inputs,
                                      const CausalConv1dParams& params, const CausalConv1dGradients& gradients) {
  const char* op = "causal_conv1d_backward_reference";
  const ConvCall call = check_causal_conv1d(op, x, weight, inputs);
  check_conv_input(op, x, grad_out, x.shape, "grad_out");
  check_float64(op, gradients.x, x.shape, "gradients.x");
  check_float64(op, gradients.weight, weight.shape, "gradients.weight");
  check_float64(op, gradients.bias, Shape{call.channels}, "gradients.bias");
  check_float64(op, gradients.initial_states, call.states, "gradients.initial_states");
  for (const Tensor* t : {gradients.x, gradients.weight, gradients.bias, gradients.initial_states}) clear(t);
  const Taps taps{x, inputs, call};
  // The derivative of a tap is passed on to what the tap was read from.
  const auto to_tap = [&](const ConvSequence& s, std::int64_t d, std::int64_t from, double g) {
    if (from >= 0 && gradients.x != nullptr)
      add(*gradients.x, at_step(*gradients.x, s, d, from), taps.mask(s, from) * g);
    if (from < 0 && gradients.initial_states != nullptr) {
      add(*gradients.initial_states, at_state(*gradients.initial_states, s, d, call.taps - 1 + from), g);
    }
  };
  for (const ConvSequence& s : call.sequences) {
    for (std::int64_t d = 0; d < call.channels; ++d) {
      for (std::int64_t t = 0; t < s.length; ++t) {
        if (taps.index(s, t) < 0) continue;
        const double above = load(grad_out, at_step(grad_out, s, d, t));
        if (params.residual && gradients.x != nullptr) add(*gradients.x, at_step(*gradients.x, s, d, t), above);
        const double g = above * slope(pre_activation(taps, weight, s, d, t), params.activation);
        if (gradients.bias != nullptr) add(*gradients.bias, d * gradients.bias->stride(0), g);
        for (std::int64_t k = 0; k < call.taps; ++k) {
          const std::int64_t from = t - (call.taps - 1) + k;
          if (!taps.counts(s, from, t)) continue;
          to_tap(s, d, from, load(weight, d * weight.stride(0) + k * weight.stride(1)) * g);
          if (gradients.weight == nullptr) continue;
          add(*gradients.weight, d * gradients.weight->stride(0) + k * gradients.weight->stride(1),
              g * taps.at(s, d, from));
        }
      }
      if (grad_final_states == nullptr) continue;
      for (std::int64_t j = 0; j < call.taps - 1; ++j) {
        const std::int64_t from = s.length - (call.taps - 1) + j, last = s.length - 1;
        if (s.length > 0 && (!taps.counts(s, from, last) || taps.index(s, last) < 0)) continue;
        to_tap(s, d, from, load(*grad_final_states, at_state(*grad_final_states, s, d, j)));
      }
    }
  }
}

void causal_conv1d_update_reference(const Tensor& x, const Tensor& conv_state, const Tensor& weight,
                                    const CausalConv1dUpdateInputs& inputs, const CausalConv1dParams& params,
                                    const Tensor& out) {
  const char* op = "causal_conv1d_update_reference";
  const ConvUpdateCall call = check_causal_conv1d_update(x, conv_state, weight, inputs, out, DType::kFloat64);
  check_float64(op, &conv_state, conv_state.shape, "conv_state");
  const std::int64_t W = call.taps, T = call.steps, S = call.state;
  const std::int64_t x_step = x.ndim() == 3 ? x.stride(2) : 0, out_step = x.ndim() == 3 ? out.stride(2) : 0;
  const auto modulo = [&](std::int64_t place) { return ((place % S) + S) % S; };
  for (std::int64_t b = 0; b < call.items; ++b) {
    const std::int64_t row = call.rows[static_cast<std::size_t>(b)];
    for (std::int64_t d = 0; d < call.channels; ++d) {
      double* result = out.as<double>() + b * out.stride(0) + d * out.stride(1);
      if (row < 0) {
        for (std::int64_t t = 0; t < T; ++t) result[t * out_step] = 0;
        continue;
      }
      double* state = conv_state.as<double>() + row * conv_state.stride(0) + d * conv_state.stride(1);
      const std::int64_t place = conv_state.stride(2);
      const std::int64_t ring =
          inputs.cache_seqlens == nullptr ? -1 : inputs.cache_seqlens->at(b * inputs.cache_seqlens->stride(0));
      const std::int64_t accepted = inputs.num_accepted_tokens == nullptr
                                        ? -1
                                        : inputs.num_accepted_tokens->at(b * inputs.num_accepted_tokens->stride(0));
      std::vector<double> taps;
      for (std::int64_t k = 0; k < W - 1; ++k) {
        const std::int64_t from = ring >= 0       ? modulo(ring - (W - 1) + k)
                                  : accepted >= 0 ? accepted - 1 + k
                                                  : S - (W - 1) + k;
        taps.push_back(state[from * place]);
      }
      std::vector<double> rolled;
      for (std::int64_t j = 0; j < S; ++j) rolled.push_back(state[j * place]);
      for (std::int64_t t = 0; t < T; ++t) {
        taps.push_back(load(x, b * x.stride(0) + d * x.stride(1) + t * x_step));
        rolled.push_back(taps.back());
      }
      for (std::int64_t t = 0; t < T; ++t) {
        double h = inputs.bias == nullptr ? 0 : load(*inputs.bias, d * inputs.bias->stride(0));
        for (std::int64_t k = 0; k < W; ++k) {
          h += load(weight, d * weight.stride(0) + k * weight.stride(1)) * taps[static_cast<std::size_t>(t + k)];
        }
        const double added = params.residual ? taps[static_cast<std::size_t>(W - 1 + t)] : 0;
        result[t * out_step] = activate(h, params.activation) + added;
      }
      if (ring >= 0) {
        for (std::int64_t t = 0; t < T; ++t)
          state[modulo(ring + t) * place] = taps[static_cast<std::size_t>(W - 1 + t)];
      } else if (accepted >= 0) {
        for (std::int64_t j = 0; j < W - 1 + T - 1; ++j) state[j * place] = taps[static_cast<std::size_t>(j + 1)];
      } else {
        for (std::int64_t j = 0; j < S; ++j) state[j * place] = rolled[static_cast<std::size_t>(j + T)];
      }
    }
  }
}

}  // namespace melisma
