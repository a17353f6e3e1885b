#include "blocks/gpu/conv/update.h"

#include <gtest/gtest.h>

#include "ops/causal_conv1d/conv_fixtures.h"
#include "ops/causal_conv1d/gpu.h"
#include "runtime/emulator/runner.h"

namespace melisma::gpu {
namespace {

using namespace testing;

struct Case {
  std::int64_t items = 3, channels = 20, steps = 1, taps = 4, state = 3, rows = 5;
  DType dtype = DType::kFloat32, state_type = DType::kFloat32, weights = DType::kFloat32;
  bool rank2 = false, residual = false, bias = true;
  ConvActivation activation = ConvActivation::kSilu;
  std::vector<std::int32_t> places = {}, indices = {}, accepted = {};
  Placement place_x = {}, place_state = {};

  std::string text() const {
    return std::to_string(channels) + " channels, " + std::to_string(steps) + " steps, " + std::to_string(taps) +
           " taps, state " + std::to_string(state) + " " + dtype_name(state_type) + ", " + dtype_name(dtype) +
           (places.empty() ? "" : ", ring") + (indices.empty() ? "" : ", indices") +
           (accepted.empty() ? "" : ", accepted");
  }
};

struct Tensors {
  Array x, weight, bias, state, out;
  IndexTensor places, indices, accepted;
  CausalConv1dUpdateInputs inputs;
  CausalConv1dParams params;

  explicit Tensors(const Case& c)
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
  Tensors(const Tensors&) = delete;
  Tensors& operator=(const Tensors&) = delete;

  ConvUpdateJob job() const { return conv_update_gpu_job(x, state, weight, inputs, params, out); }
};

void check(const Case& c, const emulator::Options& device = {}) {
  const Tensors t(c), u(c);
  const Array want(DType::kFloat64, t.x.tensor().shape), want_state = copy_of(t.state, DType::kFloat64);
  causal_conv1d_update_reference(t.x, want_state, t.weight, t.inputs, t.params, want);
  emulator::Runner runner(device);
  run_conv(t.job(), false, runner);
  run_conv(u.job(), true, runner);
  t.out.expect_written_exactly(c.text());
  const double unit = computation_unit(c.dtype) + (is_half(c.dtype) ? 0x1p-18 : 0.0),
               taps = static_cast<double>(c.taps);
  expect_near(
      t.out, want, [&](std::int64_t) { return unit * (1.1 * (taps + 2) * (taps + 1) + 4); }, c.text());
  EXPECT_TRUE(same_bits(t.state, copy_of(want_state, c.state_type))) << c.text();
  EXPECT_TRUE(same_bits(t.out, u.out)) << c.text();
  EXPECT_TRUE(same_bits(t.state, u.state)) << c.text();
}

TEST(ConvUpdate, OneStep) {
  for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    for (const std::int64_t taps : {2, 3, 4}) {
      for (const std::int64_t more : {0, 1}) {
        Case c{.taps = taps, .state = taps - 1 + more, .dtype = dtype, .state_type = dtype};
        c.rank2 = taps != 3;
        c.weights = taps == 4 ? dtype : DType::kFloat32;
        c.residual = more == 1;
        c.activation = taps == 2 ? ConvActivation::kNone : ConvActivation::kSilu;
        if (more == 1) c.indices = {4, -1, 0};
        const Tensors t(c);
        EXPECT_EQ(step_conv_refuses(t.job()), "") << c.text();
        check(c);
        if (HasFailure()) return;
      }
    }
  }
}

TEST(ConvUpdate, ShiftingState) {
  for (const std::int64_t taps : {1, 2, 3, 4, 5, 32}) {
    for (const std::int64_t more : {0, 1, 5}) {
      for (const std::int64_t steps : {1, 2, 3, 8, 20}) {
        for (const DType dtype : kFloats) {
          Case c{.channels = 7, .steps = steps, .taps = taps, .state = taps - 1 + more, .dtype = dtype};
          c.state_type = more == 1 ? DType::kFloat64 : dtype;
          c.residual = more == 1;
          if (steps == 3) c.indices = {-1, 4, 1};
          if (steps == 8) c.place_x = c.place_state = channel_last();
          check(c);
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST(ConvUpdate, RingsAndAcceptedTokens) {
  for (const std::int64_t taps : {1, 2, 3, 4, 7}) {
    for (const std::int64_t steps : {1, 2, 4}) {
      for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
        Case c{.channels = 9, .steps = steps, .taps = taps, .dtype = dtype, .state_type = dtype};
        c.state = taps + 1;
        c.places = {0, 3, 1000003};
        check(c);
        c.state = taps + steps + 1;
        c.places.clear();
        c.accepted = {1, 2, static_cast<std::int32_t>(steps)};
        c.indices = {3, 2, 0};
        check(c);
        if (HasFailure()) return;
      }
    }
  }
}

TEST(ConvUpdate, OrdersAndDevices) {
  for (const emulator::Options& device : emulator::every_order(emulator::Options::metal())) {
    check({.channels = 300, .taps = 4, .state = 3}, device);
    check({.channels = 300, .steps = 2, .taps = 4, .state = 3}, device);
  }
}

}  // namespace
}  // namespace melisma::gpu
