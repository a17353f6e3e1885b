// What the tests of the causal convolution's gradients share.
#pragma once

#include "ops/causal_conv1d/conv_fixtures.h"

namespace melisma::testing {

// Everything that a backward call writes.
struct ConvGradients {
  Array x, weight, bias, initial;
  ConvGradients(const ConvCase& c, DType x_type, DType sums, const Placement& place_x = {},
                const Placement& place_weight = {})
      : x(x_type, {c.items, c.channels, c.steps}, place_x),
        weight(sums, {c.channels, c.taps}, place_weight),
        bias(sums, {c.channels}),
        initial(sums, ConvTensors::states_shape(c), c.place_states) {}
  static ConvGradients of(const ConvCase& c) {
    const DType sums = c.dtype == DType::kFloat64 ? DType::kFloat64 : DType::kFloat32;
    return {c, c.dtype, sums, c.place_x, c.place_weight};
  }
  CausalConv1dGradients all() const { return {&x.tensor(), &weight.tensor(), &bias.tensor(), &initial.tensor()}; }
};

struct ConvUpstream {
  Array out, states;
  explicit ConvUpstream(const ConvCase& c)
      : out(Array(c.dtype, {c.items, c.channels, c.steps}, c.place_out).randomize(c.seed + 11)),
        states(Array(c.states, ConvTensors::states_shape(c), c.place_states).randomize(c.seed + 12)) {}
  const Tensor* final_states(bool given) const { return given ? &states.tensor() : nullptr; }
};

// Every input is below 1, and so is the weight of an error of h: |silu''| <= 0.5. g is good to h's roundings, a tap's
// gradient is a sum of W + 2 such, and a weight's a sum of `steps` in any order.
inline void expect_gradients(const ConvCase& c, const ConvTensors& t, const ConvUpstream& g, bool final_states,
                             const ConvGradients& got) {
  const ConvGradients want(c, DType::kFloat64, DType::kFloat64);
  causal_conv1d_backward_reference(g.out, g.final_states(final_states), t.x, t.weight, t.inputs, t.params, want.all());
  const double unit = computation_unit(c.dtype), taps = static_cast<double>(c.taps);
  const double g_error = unit * (0.6 * (taps + 2) * (taps + 1) + 8) + silu_error(c.dtype);
  const double tap_error = (taps + 2) * g_error + unit * (taps + 4) * (taps + 2);
  const double count = static_cast<double>(c.items * c.steps), sum_error = count * g_error + unit * count * 4;
  const auto expect_part = [&](const Array& part, const Array& exact, double error, const char* name) {
    const std::string what = c.text() + ", " + name;
    part.expect_written_exactly(what);
    expect_near(
        part, exact, [error](std::int64_t) { return error; }, what);
  };
  expect_part(got.x, want.x, tap_error, "x");
  expect_part(got.initial, want.initial, tap_error, "initial");
  expect_part(got.weight, want.weight, sum_error, "weight");
  expect_part(got.bias, want.bias, sum_error, "bias");
}

}  // namespace melisma::testing
