#include "blocks/gpu/conv/backward.h"

#include <gtest/gtest.h>

#include "ops/causal_conv1d/conv_fixtures.h"
#include "ops/causal_conv1d/gpu.h"
#include "runtime/emulator/runner.h"

namespace melisma::gpu {
namespace {

using namespace testing;

struct Gradients {
  Array x, weight, bias, initial;
  Gradients(const ConvCase& c, DType x_type, DType sums)
      : x(x_type, {c.items, c.channels, c.steps}, c.place_x),
        weight(sums, {c.channels, c.taps}, c.place_weight),
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

ConvBackwardJob job_of(const ConvTensors& t, const Upstream& g, bool final_states, const CausalConv1dGradients& to) {
  const ConvCall call = check_causal_conv1d("conv", t.x, t.weight, t.inputs);
  const Tensor* states = final_states ? &g.states.tensor() : nullptr;
  return conv_backward_gpu_job(g.out, states, t.x, t.weight, t.inputs, t.params, call, to);
}

Gradients run(const ConvCase& c, bool final_states, bool generic, const emulator::Options& device = {}) {
  const ConvTensors t(c);
  const Upstream g(c);
  const DType sums = c.dtype == DType::kFloat64 ? DType::kFloat64 : DType::kFloat32;
  Gradients result(c, c.dtype, sums);
  emulator::Runner runner(device);
  run_conv(job_of(t, g, final_states, result.all()), generic, runner);
  return result;
}

ConvKernel kernel_of(const ConvCase& c) {
  const ConvTensors t(c);
  const Upstream g(c);
  const Gradients to(c, c.dtype, DType::kFloat32);
  ConvKernel kernel;
  choose_conv_gradient(job_of(t, g, false, to.all()), &kernel);
  return kernel;
}

// Bounds as of the CPU's test (ops/causal_conv1d/backward_test.cc); slopes for half precision are good to 2^-18.
void check(const ConvCase& c, bool final_states = true, const emulator::Options& device = {}) {
  const ConvTensors t(c);
  const Upstream g(c);
  const Gradients got = run(c, final_states, false, device), generic = run(c, final_states, true, device);
  const Gradients want(c, DType::kFloat64, DType::kFloat64);
  causal_conv1d_backward_reference(g.out, final_states ? &g.states.tensor() : nullptr, t.x, t.weight, t.inputs,
                                   t.params, want.all());
  const double unit = computation_unit(c.dtype), taps = static_cast<double>(c.taps);
  const double g_error = unit * (0.6 * (taps + 2) * (taps + 1) + 8) + (is_half(c.dtype) ? 0x1p-18 : 0.0);
  const double tap_error = (taps + 2) * g_error + unit * (taps + 4) * (taps + 2);
  const double count = static_cast<double>(c.items * c.steps), sum_bound = count * g_error + unit * count * 4;
  for (const Gradients* a : {&got, &generic}) {
    for (const Array* part : {&a->x, &a->weight, &a->bias, &a->initial}) part->expect_written_exactly(c.text());
    expect_near(
        a->x, want.x, [&](std::int64_t) { return tap_error; }, c.text() + ", x");
    expect_near(
        a->initial, want.initial, [&](std::int64_t) { return tap_error; }, c.text() + ", initial");
    expect_near(
        a->weight, want.weight, [&](std::int64_t) { return sum_bound; }, c.text() + ", weight");
    expect_near(
        a->bias, want.bias, [&](std::int64_t) { return sum_bound; }, c.text() + ", bias");
  }
  EXPECT_TRUE(same_bits(got.x, generic.x)) << c.text();
  EXPECT_TRUE(same_bits(got.initial, generic.initial)) << c.text();
}

constexpr DType kTypes[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16};

TEST(ConvGradient, RowsOfEveryLengthAndPhase) {
  for (const DType dtype : kTypes) {
    for (const std::int64_t steps : {2, 3, 4, 7, 8, 9, 33, 64, 127, 128, 255, 256, 257, 513, 1024, 1025, 2100}) {
      for (const std::int64_t gap : {0, 1, 3}) {
        ConvCase c{.channels = steps > 600 ? 2 : 5, .steps = steps, .taps = 2 + (steps + gap) % 3, .dtype = dtype};
        c.initial = steps % 2 == 1;
        c.residual = steps % 4 == 0;
        c.activation = steps % 5 == 0 ? ConvActivation::kNone : ConvActivation::kSilu;
        c.place_x.gap = c.place_out.gap = gap;
        ASSERT_EQ(kernel_of(c), ConvKernel::kRows) << c.text();
        check(c, steps % 3 != 0);
        if (HasFailure()) return;
      }
    }
  }
}

TEST(ConvGradient, ChannelsOfEveryNumberAndLength) {
  for (const DType dtype : kTypes) {
    for (const std::int64_t channels : {2, 7, 8, 132}) {
      for (const std::int64_t steps : {2, 3, 5, 15, 16, 17, 18, 19, 20, 100}) {
        ConvCase c{.channels = channels, .steps = steps, .taps = 2 + (steps + channels) % 3, .dtype = dtype};
        c.weights = steps % 2 == 0 ? dtype : DType::kFloat32;
        c.initial = steps % 2 == 1;
        c.residual = steps % 4 == 0;
        c.activation = steps % 5 == 0 ? ConvActivation::kNone : ConvActivation::kSilu;
        c.place_x = c.place_out = channel_last();
        ASSERT_EQ(kernel_of(c), ConvKernel::kChannels) << c.text();
        check(c, steps % 3 != 0);
        if (HasFailure()) return;
      }
    }
  }
}

TEST(ConvGradient, GenericWidthsTypesAndStrides) {
  for (const std::int64_t taps : {1, 2, 5, 31, 32}) {
    for (const DType dtype : kFloats) {
      ConvCase c{.channels = 7, .steps = 75, .taps = taps, .dtype = dtype, .weights = dtype, .states = dtype};
      c.initial = taps % 2 == 0;
      c.residual = taps % 2 == 1;
      c.place_x = {{2, 0, 1}, 2, 1, {2}};
      c.place_out = {{1, 2, 0}, 3, 2, {0}};
      c.place_weight = {{1, 0}, 2, 1, {0, 1}};
      c.place_states = {{2, 1, 0}, 2, 1, {1}};
      check(c, taps % 2 == 0);
      if (HasFailure()) return;
    }
  }
}

TEST(ConvGradient, MasksAndSequences) {
  for (const bool last : {true, false}) {
    for (int flags = 0; flags < 16; ++flags) {
      ConvCase c{.channels = flags % 4 == 3 ? 7 : 8,
                 .steps = 60,
                 .taps = 1 + flags % 5,
                 .dtype = flags % 3 == 0 ? DType::kBFloat16 : DType::kFloat32};
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
      if (last) c.place_x = c.place_out = channel_last();
      check(c);
      if (HasFailure()) return;
    }
    for (const std::int64_t taps : {1, 2, 4, 9}) {
      ConvCase c{.items = 1, .channels = 20, .steps = 120, .taps = taps};
      c.initial = true;
      c.cu_seqlens = {0, 0, 1, 3, 3, 6, 10, 60, 60, 119, 120, 120};
      if (last) c.place_x = c.place_out = channel_last();
      check(c, taps != 2);
      if (HasFailure()) return;
    }
  }
}

// Sequences and masks of channels side by side have a fast kernel, whose rounds without a cut are as plain ones.
TEST(ConvGradient, LongSequencesOfChannels) {
  for (const DType dtype : kTypes) {
    for (int which = 0; which < 8; ++which) {
      ConvCase c{.items = which % 2 == 0 ? 1 : 2, .channels = 12, .steps = 150, .taps = 2 + which % 3, .dtype = dtype};
      c.states = dtype;
      c.initial = which % 3 == 0;
      c.mask = which % 4 > 1;
      c.residual = which == 5;
      c.place_x = c.place_out = channel_last();
      if (which % 2 == 0) {
        c.cu_seqlens = {0, 29, 30, 31, 31, 33, 101, 149, 150};
      } else {
        for (std::int64_t i = 0; i < c.items * c.steps; ++i) {
          c.seq_idx.push_back(i % c.steps > 140 ? -1 : static_cast<std::int32_t>(i % c.steps / 37));
        }
      }
      ASSERT_EQ(kernel_of(c), ConvKernel::kChannels) << c.text();
      check(c, which != 3);
      if (HasFailure()) return;
    }
  }
}

TEST(ConvGradient, OrdersDevicesAndEmptyCalls) {
  for (const bool last : {false, true}) {
    ConvCase c{.items = 3, .channels = 16, .steps = 600, .taps = 4};
    if (last) c.place_x = c.place_out = channel_last();
    const Gradients first = run(c, true, false);
    for (const emulator::Options& device : emulator::every_order()) {
      const Gradients again = run(c, true, false, device);
      EXPECT_TRUE(same_bits(first.x, again.x) && same_bits(first.weight, again.weight) &&
                  same_bits(first.bias, again.bias));
    }
    check(c, true, emulator::Options::metal());
  }
  for (const auto& [items, channels, steps] : {std::tuple{0, 3, 5}, {2, 0, 5}, {2, 3, 0}}) {
    check({.items = items, .channels = channels, .steps = steps, .initial = true});
  }
}

// Each gradient alone, and many items in one group.
TEST(ConvGradient, SomeGradientsAndManyItems) {
  for (const bool last : {false, true}) {
    ConvCase c{.items = 70, .channels = 64, .steps = 20, .taps = 3};
    if (last) c.place_x = c.place_out = channel_last();
    const ConvTensors t(c);
    const Upstream g(c);
    const Gradients all = run(c, false, false);
    for (int which = 0; which < 4; ++which) {
      const Gradients some(c, c.dtype, DType::kFloat32);
      CausalConv1dGradients to;
      if (which == 0) to.x = &some.x.tensor();
      if (which == 1) to.weight = &some.weight.tensor();
      if (which == 2) to.bias = &some.bias.tensor();
      if (which == 3) to.initial_states = &some.initial.tensor();
      emulator::Runner runner;
      run_conv(job_of(t, g, false, to), false, runner);
      EXPECT_EQ(same_bits(some.x, all.x), which == 0);
      EXPECT_EQ(same_bits(some.weight, all.weight), which == 1);
      EXPECT_EQ(same_bits(some.bias, all.bias), which == 2);
      EXPECT_EQ(same_bits(some.initial, all.initial), which == 3);
    }
  }
}

}  // namespace
}  // namespace melisma::gpu
