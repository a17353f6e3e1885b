#include "blocks/gpu/conv/backward.h"

#include <gtest/gtest.h>

#include "ops/causal_conv1d/conv_gradient_fixtures.h"
#include "ops/causal_conv1d/gpu.h"
#include "runtime/emulator/runner.h"

namespace melisma::gpu {
namespace {

using namespace testing;

ConvBackwardJob job_of(const ConvTensors& t, const ConvUpstream& g, bool final_states,
                       const CausalConv1dGradients& to) {
  const ConvCall call = check_causal_conv1d("conv", t.x, t.weight, t.inputs);
  return conv_backward_gpu_job(g.out, g.final_states(final_states), t.x, t.weight, t.inputs, t.params, call, to);
}

ConvGradients run(const ConvCase& c, bool final_states, bool generic, const emulator::Options& device = {}) {
  const ConvTensors t(c);
  const ConvUpstream g(c);
  ConvGradients result = ConvGradients::of(c);
  emulator::Runner runner(device);
  run_conv(job_of(t, g, final_states, result.all()), generic, runner);
  return result;
}

ConvKernel kernel_of(const ConvCase& c) {
  const ConvTensors t(c);
  const ConvUpstream g(c);
  const ConvGradients to = ConvGradients::of(c);
  ConvKernel kernel;
  choose_conv_gradient(job_of(t, g, false, to.all()), &kernel);
  return kernel;
}

void check(const ConvCase& c, bool final_states = true, const emulator::Options& device = {}) {
  const ConvTensors t(c);
  const ConvUpstream g(c);
  const ConvGradients got = run(c, final_states, false, device), generic = run(c, final_states, true, device);
  for (const ConvGradients* a : {&got, &generic}) expect_gradients(c, t, g, final_states, *a);
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
      check(in_odd_strides(c), taps % 2 == 0);
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
      c.seq_idx = mixed_seq_idx(c.items, c.steps);
      if (last) c.place_x = c.place_out = channel_last();
      check(c);
      if (HasFailure()) return;
    }
    for (const std::int64_t taps : {1, 2, 4, 9}) {
      ConvCase c{.items = 1, .channels = 20, .steps = 120, .taps = taps};
      c.initial = true;
      c.cu_seqlens = mixed_cu_seqlens();
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
    const ConvGradients first = run(c, true, false);
    for (const emulator::Options& device : emulator::every_order()) {
      const ConvGradients again = run(c, true, false, device);
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
    const ConvUpstream g(c);
    const ConvGradients all = run(c, false, false);
    for (int which = 0; which < 4; ++which) {
      const ConvGradients some = ConvGradients::of(c);
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
