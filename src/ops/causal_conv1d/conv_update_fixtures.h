// What the tests of the causal convolution's update share: calls with their tensors.
#pragma once

#include "ops/causal_conv1d/conv_fixtures.h"

namespace melisma::testing {

struct UpdateCase {
  std::int64_t items = 3, channels = 21, steps = 1, taps = 4, state = 3, rows = 3;
  DType dtype = DType::kFloat32, state_type = DType::kFloat32, weights = DType::kFloat32;
  bool rank2 = false, residual = false, bias = true;
  ConvActivation activation = ConvActivation::kSilu;
  std::vector<std::int32_t> places = {}, indices = {}, accepted = {};
  Placement place_x = {}, place_state = {};

  std::string text() const {
    return std::to_string(channels) + " channels, " + std::to_string(steps) + " steps, " + std::to_string(taps) +
           " taps, state " + std::to_string(state) + " " + dtype_name(state_type) + ", " + dtype_name(dtype) +
           (places.empty() ? "" : ", ring") + (indices.empty() ? "" : ", indices") +
           (accepted.empty() ? "" : ", accepted") + ", on " + simd_target();
  }
};

struct UpdateTensors {
  Array x, weight, bias, state, out;
  IndexTensor places, indices, accepted;
  CausalConv1dUpdateInputs inputs;
  CausalConv1dParams params;

  explicit UpdateTensors(const UpdateCase& c)
      : x(Array(c.dtype, c.rank2 ? Shape{c.items, c.channels} : Shape{c.items, c.channels, c.steps}, c.place_x)
              .randomize(5)),
        weight(Array(c.weights, {c.channels, c.taps}).randomize(6)),
        bias(Array(c.weights, {c.channels}).randomize(7)),
        state(Array(c.state_type, {c.rows, c.channels, c.state}, c.place_state).randomize(8)),
        out(c.dtype, x.tensor().shape, c.place_x),
        places(c.places.data(), Shape{c.items}),
        indices(c.indices.data(), Shape{c.items}),
        accepted(c.accepted.data(), Shape{c.items}) {
    if (c.bias) inputs.bias = &bias.tensor();
    if (!c.places.empty()) inputs.cache_seqlens = &places;
    if (!c.indices.empty()) inputs.conv_state_indices = &indices;
    if (!c.accepted.empty()) inputs.num_accepted_tokens = &accepted;
    params.activation = c.activation;
    params.residual = c.residual;
  }
  UpdateTensors(const UpdateTensors&) = delete;
  UpdateTensors& operator=(const UpdateTensors&) = delete;
};

// Output and state of a call on t, against the reference on the same tensors as they were before.
inline void expect_update(const UpdateCase& c, const UpdateTensors& t) {
  const UpdateTensors before(c);
  const Array want(DType::kFloat64, t.x.tensor().shape), want_state = copy_of(before.state, DType::kFloat64);
  causal_conv1d_update_reference(before.x, want_state, before.weight, before.inputs, before.params, want);
  t.out.expect_written_exactly(c.text());
  const double taps = static_cast<double>(c.taps);
  const double error = (computation_unit(c.dtype) + silu_error(c.dtype)) * (1.1 * (taps + 2) * (taps + 1) + 4);
  expect_near(
      t.out, want, [error](std::int64_t) { return error; }, c.text());
  // What is kept is copied, and rounded to the state's type at most.
  EXPECT_TRUE(same_bits(t.state, copy_of(want_state, c.state_type))) << c.text();
}

}  // namespace melisma::testing
