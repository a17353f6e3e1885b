#include <cmath>

#include "ops/causal_conv1d/conv_gradient_fixtures.h"

namespace melisma {
namespace {

using namespace testing;

void run_and_check(const ConvCase& c, bool final_states = true) {
  const ConvTensors t(c);
  const ConvUpstream g(c);
  const ConvGradients got = ConvGradients::of(c);
  causal_conv1d_backward(g.out, g.final_states(final_states), t.x, t.weight, t.inputs, t.params, got.all());
  expect_gradients(c, t, g, final_states, got);
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
      run_and_check(in_odd_strides(c), taps % 2 == 0);
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
      c.seq_idx = mixed_seq_idx(c.items, c.steps);
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
    c.cu_seqlens = mixed_cu_seqlens();
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
  const ConvUpstream g(c);
  const ConvGradients want(c, c.dtype, c.dtype);
  {
    const Threads threads(1);
    causal_conv1d_backward(g.out, nullptr, t.x, t.weight, t.inputs, t.params, want.all());
  }
  for (const int n : {2, 5}) {
    const Threads threads(n);
    for (const Placement& place : {Placement{}, channel_last()}) {
      const Array x = copy_of(t.x, c.dtype, place), above = copy_of(g.out, c.dtype, place);
      const ConvGradients got(c, c.dtype, c.dtype, place);
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
  const ConvGradients got(c, c.dtype, c.dtype), want(c, DType::kFloat64, DType::kFloat64);
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
    const ConvUpstream g(c);
    const ConvGradients want(c, DType::kFloat64, DType::kFloat64);
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
