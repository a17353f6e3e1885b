#include <cmath>

#include "ops/causal_conv1d/conv_fixtures.h"

namespace melisma {
namespace {

using namespace testing;

// Everything that a backward call reads and writes.
struct Gradients {
  Array x, weight, bias, initial;
  Gradients(const ConvCase& c, DType x_type, DType sums, const Placement& place_x = {},
            const Placement& place_weight = {})
      : x(x_type, {c.items, c.channels, c.steps}, place_x),
        weight(sums, {c.channels, c.taps}, place_weight),
        bias(sums, {c.channels}),
        initial(sums, ConvTensors::states_shape(c), c.place_states) {}
  CausalConv1dGradients all() const { return {&x.tensor(), &weight.tensor(), &bias.tensor(), &initial.tensor()}; }
};

struct Upstream {
  Array out, states;
  explicit Upstream(const ConvCase& c)
      : out(Array(c.dtype, {c.items, c.channels, c.steps}, c.place_out).randomize(c.seed + 11)),
        states(Array(c.states, ConvTensors::states_shape(c), c.place_states).randomize(c.seed + 12)) {}
};

void run_and_check(const ConvCase& c, bool final_states = true) {
  const ConvTensors t(c);
  const Upstream g(c);
  const DType sums = c.dtype == DType::kFloat64 ? DType::kFloat64 : DType::kFloat32;
  const Gradients got(c, c.dtype, sums, c.place_x, c.place_weight), want(c, DType::kFloat64, DType::kFloat64);
  const Tensor* upstream = final_states ? &g.states.tensor() : nullptr;
  causal_conv1d_backward(g.out, upstream, t.x, t.weight, t.inputs, t.params, got.all());
  causal_conv1d_backward_reference(g.out, upstream, t.x, t.weight, t.inputs, t.params, want.all());
  for (const Array* a : {&got.x, &got.weight, &got.bias, &got.initial}) a->expect_written_exactly(c.text());
  // Every input is below 1, and so is the weight of an error of h: |silu''| <= 0.5. g is good to h's roundings, a tap's
  // gradient is a sum of W + 2 such, and a weight's a sum of `steps` in any order.
  const double unit = computation_unit(c.dtype), taps = static_cast<double>(c.taps);
  const double g_error = unit * (0.6 * (taps + 2) * (taps + 1) + 8);
  const double tap_error = (taps + 2) * g_error + unit * (taps + 4) * (taps + 2);
  const double count = static_cast<double>(c.items * c.steps);
  expect_near(
      got.x, want.x, [&](std::int64_t) { return tap_error; }, c.text() + ", x");
  expect_near(
      got.initial, want.initial, [&](std::int64_t) { return tap_error; }, c.text() + ", initial");
  const double sum_bound = count * g_error + unit * count * 4;
  expect_near(
      got.weight, want.weight, [&](std::int64_t) { return sum_bound; }, c.text() + ", weight");
  expect_near(
      got.bias, want.bias, [&](std::int64_t) { return sum_bound; }, c.text() + ", bias");
}

class CausalConv1dBackwardTest : public SimdTest {};
MELISMA_ON_EVERY_SIMD_TARGET(CausalConv1dBackwardTest);

TEST_P(CausalConv1dBackwardTest, EveryWidthDtypeAndLayout) {
  for (const std::int64_t taps : {1, 2, 3, 4, 5, 8, 31, 32}) {
    for (const DType dtype : kFloats) {
      ConvCase c{.channels = 19, .steps = 75, .taps = taps, .dtype = dtype, .weights = dtype, .states = dtype};
      c.initial = taps % 2 == 0;
      c.activation = taps % 3 == 0 ? ConvActivation::kNone : ConvActivation::kSilu;
      c.residual = taps % 2 == 1;
      run_and_check(c);
      c.place_x = c.place_out = channel_last();
      run_and_check(c);
      c.place_x = {{2, 0, 1}, 2, 1, {2}};
      c.place_out = {{1, 2, 0}, 3, 2, {0}};
      c.place_weight = {{1, 0}, 2, 1, {0, 1}};
      c.place_states = {{2, 1, 0}, 2, 1, {1}};
      run_and_check(c, taps % 2 == 0);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(CausalConv1dBackwardTest, EveryLengthAndPieceBoundary) {
  for (const std::int64_t taps : {1, 2, 4, 7}) {
    for (const std::int64_t steps : {0, 1, 2, 3, 4, 5, 15, 16, 17, 1022, 1023, 1024, 1025, 1027, 1030, 2048, 2051}) {
      for (const std::int64_t channels : {0, 1, 17}) {
        ConvCase c{.items = steps < 100 ? 3 : 1, .channels = channels, .steps = steps, .taps = taps};
        c.initial = steps % 2 == 0;
        c.mask = steps % 3 == 0;
        run_and_check(c);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(CausalConv1dBackwardTest, MaskResidualAndIndices) {
  for (const std::int64_t taps : {1, 2, 3, 4, 6}) {
    for (int flags = 0; flags < 16; ++flags) {
      ConvCase c{
          .channels = 18, .steps = 60, .taps = taps, .dtype = flags % 3 == 0 ? DType::kBFloat16 : DType::kFloat32};
      c.mask = (flags & 1) != 0;
      c.residual = (flags & 2) != 0;
      c.initial = (flags & 4) != 0;
      c.activation = (flags & 8) != 0 ? ConvActivation::kSilu : ConvActivation::kNone;
      for (std::int64_t i = 0; i < c.items * c.steps; ++i) {
        const std::int64_t s = i % c.steps, item = i / c.steps;
        c.seq_idx.push_back(s % 11 == 5 + item || s >= c.steps - 2 * item ? -1
                            : s < 20                                      ? static_cast<std::int32_t>(s) / 2
                                                                          : 4);
      }
      run_and_check(c);
      c.place_x = c.place_out = channel_last();
      run_and_check(c);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(CausalConv1dBackwardTest, PackedSequences) {
  for (const std::int64_t taps : {1, 2, 4, 9}) {
    ConvCase c{.items = 1, .channels = 20, .steps = 120, .taps = taps};
    c.initial = true;
    c.cu_seqlens = {0, 0, 1, 3, 3, 6, 10, 60, 60, 119, 120, 120};
    run_and_check(c);
    c.place_x = c.place_out = channel_last();
    run_and_check(c, false);
    if (HasFatalFailure()) return;
  }
}

TEST_P(CausalConv1dBackwardTest, ThreadsAndLayoutDoNotChangeBits) {
  ConvCase c{.items = 3, .channels = 50, .steps = 2500};
  c.initial = true;
  const ConvTensors t(c);
  const Upstream g(c);
  const Gradients want(c, c.dtype, c.dtype);
  {
    const Threads threads(1);
    causal_conv1d_backward(g.out, nullptr, t.x, t.weight, t.inputs, t.params, want.all());
  }
  for (const int n : {2, 5}) {
    const Threads threads(n);
    for (const Placement& place : {Placement{}, channel_last()}) {
      const Array x = copy_of(t.x, c.dtype, place), above = copy_of(g.out, c.dtype, place);
      const Gradients got(c, c.dtype, c.dtype, place);
      causal_conv1d_backward(above, nullptr, x, t.weight, t.inputs, t.params, got.all());
      EXPECT_TRUE(same_bits(got.x, want.x));
      EXPECT_TRUE(same_bits(got.weight, want.weight));
      EXPECT_TRUE(same_bits(got.bias, want.bias));
      EXPECT_TRUE(same_bits(got.initial, want.initial));
    }
  }
  // An item's gradients do not depend on the others.
  for (std::int64_t item = 0; item < c.items; ++item) {
    const Tensor initial = item_view(t.initial, item);
    CausalConv1dInputs inputs = t.inputs;
    inputs.initial_states = &initial;
    const Array x(c.dtype, {c.channels, c.steps});
    causal_conv1d_backward(item_view(g.out, item), nullptr, item_view(t.x, item), t.weight, inputs, t.params,
                           {.x = &x.tensor()});
    for (std::int64_t i = 0; i < x.numel(); ++i) ASSERT_EQ(x.bytes_of(i), want.x.bytes_of(item * x.numel() + i));
  }
}

TEST_P(CausalConv1dBackwardTest, ExpandedUpstreamAndUnwantedGradients) {
  const ConvCase c{.items = 2, .channels = 9, .steps = 33};
  const ConvTensors t(c);
  float one = 1;
  Tensor above(&one, c.dtype, t.x.tensor().shape);
  above.strides = {};
  const Gradients got(c, c.dtype, c.dtype), want(c, DType::kFloat64, DType::kFloat64);
  causal_conv1d_backward(above, nullptr, t.x, t.weight, t.inputs, t.params, got.all());
  causal_conv1d_backward_reference(above, nullptr, t.x, t.weight, t.inputs, t.params, want.all());
  expect_near(
      got.x, want.x, [](std::int64_t) { return 1e-5; }, "x");
  const Array bias(c.dtype, {c.channels}), weight(c.dtype, {c.channels, c.taps}), x(c.dtype, t.x.tensor().shape);
  causal_conv1d_backward(above, nullptr, t.x, t.weight, t.inputs, t.params, {.bias = &bias.tensor()});
  causal_conv1d_backward(above, nullptr, t.x, t.weight, t.inputs, t.params, {.weight = &weight.tensor()});
  causal_conv1d_backward(above, nullptr, t.x, t.weight, t.inputs, t.params, {.x = &x.tensor()});
  EXPECT_TRUE(same_bits(bias, got.bias));
  EXPECT_TRUE(same_bits(weight, got.weight));
  EXPECT_TRUE(same_bits(x, got.x));
}

// The reference's gradients against differences of the reference itself.
TEST(CausalConv1dBackwardReferenceTest, EqualsFiniteDifferences) {
  ConvCase c{.items = 2,
             .channels = 2,
             .steps = 9,
             .taps = 4,
             .dtype = DType::kFloat64,
             .weights = DType::kFloat64,
             .states = DType::kFloat64};
  c.mask = c.initial = c.residual = true;
  c.seq_idx = {0, 0, 0, 1, 1, 1, 1, 2, 2, 0, 0, -1, -1, 1, 1, 1, 1, 1};
  for (const bool packed : {false, true}) {
    if (packed) {
      c.seq_idx.clear();
      c.items = 1;
      c.cu_seqlens = {0, 2, 2, 9};
    }
    ConvTensors t(c);
    const Upstream g(c);
    const Gradients want(c, DType::kFloat64, DType::kFloat64);
    causal_conv1d_backward_reference(g.out, &g.states.tensor(), t.x, t.weight, t.inputs, t.params, want.all());
    const auto loss = [&] {
      const Array out(DType::kFloat64, t.x.tensor().shape), states(DType::kFloat64, ConvTensors::states_shape(c));
      causal_conv1d_reference(t.x, t.weight, t.inputs, t.params, out, &states.tensor());
      double sum = 0;
      for (std::int64_t i = 0; i < out.numel(); ++i) sum += out.get(i).real() * g.out.get(i).real();
      for (std::int64_t i = 0; i < states.numel(); ++i) sum += states.get(i).real() * g.states.get(i).real();
      return sum;
    };
    const auto check = [&](Array& input, const Array& gradient, const char* name) {
      for (std::int64_t i = 0; i < input.numel(); ++i) {
        const double value = input.get(i).real(), step = 1e-5;
        input.set(i, value + step);
        const double above = loss();
        input.set(i, value - step);
        const double below = loss();
        input.set(i, value);
        EXPECT_NEAR((above - below) / (2 * step), gradient.get(i).real(), 1e-8) << name << i;
      }
    };
    check(t.x, want.x, "x");
    check(t.weight, want.weight, "weight");
    check(t.bias, want.bias, "bias");
    check(t.initial, want.initial, "initial");
  }
}

TEST(CausalConv1dBackwardErrorTest, Refuses) {
  const ConvCase c{.items = 1, .channels = 3, .steps = 10};
  const ConvTensors t(c);
  const Array good(DType::kFloat32, {1, 3, 10}), short_one(DType::kFloat32, {1, 3, 9}), weight(DType::kFloat32, {3, 3});
  const auto refuses = [&](const std::vector<std::string>& parts, const Tensor& above, const Tensor* states,
                           const CausalConv1dGradients& to) {
    expect_error(ErrorKind::kInvalidArgument, "causal_conv1d_backward", parts,
                 [&] { causal_conv1d_backward(above, states, t.x, t.weight, t.inputs, {}, to); });
    EXPECT_TRUE(good.untouched());
  };
  refuses({"grad_out", "[1, 3, 10]", "[1, 3, 9]"}, short_one, nullptr, {.x = &good.tensor()});
  refuses({"grad_final_states", "[1, 3, 3]"}, t.x, &short_one.tensor(), {.x = &good.tensor()});
  refuses({"gradients.x", "[1, 3, 10]", "[1, 3, 9]"}, t.x, nullptr, {.x = &short_one.tensor()});
  refuses({"gradients.weight", "[3, 4]", "[3, 3]"}, t.x, nullptr, {.x = &good.tensor(), .weight = &weight.tensor()});
  refuses({"gradients.initial_states", "[1, 3, 3]"}, t.x, nullptr,
          {.x = &good.tensor(), .initial_states = &short_one.tensor()});
}

}  // namespace
}  // namespace melisma
