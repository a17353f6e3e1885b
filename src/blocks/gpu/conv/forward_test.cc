#include "blocks/gpu/conv/fast_forward.h"

#include <gtest/gtest.h>

#include "ops/causal_conv1d/conv_fixtures.h"
#include "ops/causal_conv1d/gpu.h"
#include "runtime/emulator/runner.h"

namespace melisma::gpu {
namespace {

using namespace testing;

struct Outcome {
  Array out, states;
};

Outcome run(const ConvCase& c, const ConvTensors& t, bool generic, const emulator::Options& device = {}) {
  Outcome result{Array(c.dtype, t.x.tensor().shape, c.place_out),
                 Array(c.states, ConvTensors::states_shape(c), c.place_states)};
  const ConvCall call = check_causal_conv1d("conv", t.x, t.weight, t.inputs);
  emulator::Runner runner(device);
  run_conv(conv_gpu_job(t.x, t.weight, t.inputs, t.params, call, result.out, &result.states.tensor()), generic, runner);
  return result;
}

ConvKernel kernel_of(const ConvCase& c) {
  const ConvTensors t(c);
  const Array out(c.dtype, t.x.tensor().shape, c.place_out);
  const ConvCall call = check_causal_conv1d("conv", t.x, t.weight, t.inputs);
  ConvKernel kernel;
  choose_conv(conv_gpu_job(t.x, t.weight, t.inputs, t.params, call, out, nullptr), &kernel);
  return kernel;
}

// On the kernel that is chosen and on the generic one, against the reference; the same bits on both.
void check(const ConvCase& c, const emulator::Options& device = {}) {
  const ConvTensors t(c);
  const Outcome got = run(c, t, false, device), generic = run(c, t, true, device);
  expect_forward(c, t, got.out, got.states);
  EXPECT_TRUE(same_bits(got.out, generic.out)) << c.text();
  EXPECT_TRUE(same_bits(got.states, generic.states)) << c.text();
}

constexpr DType kTypes[] = {DType::kFloat32, DType::kFloat16, DType::kBFloat16};

TEST(ConvForward, RowsOfEveryLengthAndPhase) {
  for (const DType dtype : kTypes) {
    for (const std::int64_t steps : {1, 2, 3, 4, 7, 8, 9, 31, 32, 33, 64, 129, 255, 256, 257, 520}) {
      for (const std::int64_t gap : {0, 1, 2, 5}) {
        ConvCase c{.channels = 5, .steps = steps, .taps = 2 + (steps + gap) % 3, .dtype = dtype};
        c.initial = steps % 2 == 1;
        c.residual = steps % 4 == 0;
        c.place_x.gap = c.place_out.gap = gap;
        if (steps > 1) {
          ASSERT_EQ(kernel_of(c), ConvKernel::kRows) << c.text();
        }
        check(c);
        if (HasFailure()) return;
      }
    }
  }
}

TEST(ConvForward, LongRowsTakeFourVectors) {
  for (const DType dtype : kTypes) {
    for (const std::int64_t steps : {100, 1024, 3000}) {
      for (const std::int64_t gap : {0, 3}) {
        ConvCase c{.items = 2, .channels = 3, .steps = steps, .taps = 4, .dtype = dtype, .states = dtype};
        c.initial = gap > 0;
        c.place_x.gap = c.place_out.gap = gap;
        const ConvTensors t(c);
        const Outcome one = run(c, t, false);
        Outcome four{Array(c.dtype, t.x.tensor().shape, c.place_out), Array(c.states, ConvTensors::states_shape(c))};
        const ConvCall call = check_causal_conv1d("conv", t.x, t.weight, t.inputs);
        const ConvForwardJob job =
            conv_gpu_job(t.x, t.weight, t.inputs, t.params, call, four.out, &four.states.tensor());
        emulator::Runner runner;
        with_conv_type(dtype,
                       [&](auto type) { launch_rows<RowsConv<decltype(type)::value, 4, 4>>(job, 4, 1, runner); });
        four.out.expect_written_exactly(c.text());
        EXPECT_TRUE(same_bits(one.out, four.out)) << c.text();
        EXPECT_TRUE(same_bits(one.states, four.states)) << c.text();
      }
    }
  }
}

TEST(ConvForward, ChannelsOfEveryNumberAndLength) {
  for (const DType dtype : kTypes) {
    for (const std::int64_t channels : {2, 7, 8, 16, 40, 264}) {
      for (const std::int64_t steps : {2, 3, 7, 8, 9, 40, 70}) {
        ConvCase c{.channels = channels, .steps = steps, .taps = 2 + (steps + channels) % 3, .dtype = dtype};
        c.weights = steps % 2 == 0 ? dtype : DType::kFloat32;
        c.initial = steps % 2 == 1;
        c.residual = steps % 4 == 0;
        c.place_x = c.place_out = channel_last();
        c.place_x.gap = c.place_out.gap = channels % 8 == 0 ? 8 : 0;
        ASSERT_EQ(kernel_of(c), ConvKernel::kChannels) << c.text();
        check(c);
        if (HasFailure()) return;
      }
    }
  }
}

TEST(ConvForward, MasksSequencesAndResidual) {
  for (const bool last : {true, false}) {
    for (const DType dtype : kTypes) {
      for (int flags = 0; flags < 16; ++flags) {
        ConvCase c{.channels = 16, .steps = 90, .taps = 2 + flags % 3, .dtype = dtype, .states = dtype};
        c.mask = (flags & 1) != 0;
        c.residual = (flags & 2) != 0;
        c.initial = (flags & 4) != 0;
        c.activation = flags % 5 == 0 ? ConvActivation::kNone : ConvActivation::kSilu;
        if ((flags & 8) != 0) c.seq_idx = mixed_seq_idx(c.items, c.steps);
        if (last) c.place_x = c.place_out = channel_last();
        check(c);
        if (HasFailure()) return;
      }
    }
  }
}

TEST(ConvForward, PackedSequences) {
  for (const bool last : {true, false}) {
    for (const DType dtype : kTypes) {
      for (const bool initial : {false, true}) {
        ConvCase c{.items = 1, .channels = 24, .steps = 120, .taps = 4, .dtype = dtype, .states = dtype};
        c.initial = initial;
        c.mask = initial;
        c.cu_seqlens = mixed_cu_seqlens();
        if (last) c.place_x = c.place_out = channel_last();
        check(c);
        if (HasFailure()) return;
      }
    }
  }
}

TEST(ConvForward, GenericWidthsTypesAndStrides) {
  for (const std::int64_t taps : {1, 2, 5, 8, 17, 32}) {
    for (const DType dtype : kFloats) {
      ConvCase c{.channels = 7, .steps = 40, .taps = taps, .dtype = dtype, .weights = DType::kFloat64};
      c.states = DType::kFloat64;
      c.initial = taps % 2 == 0;
      check(in_odd_strides(c));
      if (HasFailure()) return;
    }
  }
}

TEST(ConvForward, OrdersDevicesAndEmptyCalls) {
  for (const bool last : {false, true}) {
    for (const emulator::Options& device :
         emulator::every_order(last ? emulator::Options() : emulator::Options::metal())) {
      ConvCase c{.channels = 16, .steps = 300, .taps = 3};
      if (last) c.place_x = c.place_out = channel_last();
      check(c, device);
    }
    for (const auto& [items, channels, steps] : {std::tuple{0, 3, 5}, {2, 0, 5}, {2, 3, 0}}) {
      ConvCase c{.items = items, .channels = channels, .steps = steps, .initial = true};
      check(c);
    }
  }
}

Array forward(const Tensor& x, const Tensor& weight, const CausalConv1dInputs& inputs, const CausalConv1dParams& params,
              const Placement& place, const Tensor* states) {
  Array out(x.dtype, x.shape, place);
  const ConvCall call = check_causal_conv1d("conv", x, weight, inputs);
  emulator::Runner runner;
  run_conv(conv_gpu_job(x, weight, inputs, params, call, out, states), false, runner);
  return out;
}

TEST(ConvForward, ChunksWithStatesEqualTheWholeBitForBit) {
  for (const DType dtype : kTypes) {
    for (const bool last : {false, true}) {
      ConvCase c{.items = 2, .channels = 16, .steps = 160, .taps = 4, .dtype = dtype, .residual = true};
      if (last) c.place_x = c.place_out = channel_last();
      const ConvTensors t(c);
      const Array whole = forward(t.x, t.weight, t.inputs, t.params, {}, nullptr);
      Array state(dtype, ConvTensors::states_shape(c));
      for (std::int64_t i = 0; i < state.numel(); ++i) state.set(i, 0.0);
      std::int64_t first = 0;
      for (const std::int64_t count : {1, 1, 0, 2, 5, 40, 3, 17, 91}) {
        const Array next(dtype, ConvTensors::states_shape(c));
        CausalConv1dInputs inputs = t.inputs;
        inputs.initial_states = &state.tensor();
        const Array part =
            forward(last_axis_slice(t.x, first, count), t.weight, inputs, t.params, c.place_out, &next.tensor());
        state = copy_of(next, dtype);
        for (std::int64_t i = 0; i < part.numel(); ++i) {
          ASSERT_EQ(part.bytes_of(i), whole.bytes_of(i / count * c.steps + first + i % count)) << c.text() << first;
        }
        first += count;
      }
    }
  }
}

TEST(ConvForward, PackedEqualsSeparateAndItemsEqualBatchesBitForBit) {
  for (const DType dtype : kTypes) {
    for (const bool last : {false, true}) {
      ConvCase c{.items = 1, .channels = 40, .steps = 200, .taps = 4, .dtype = dtype, .states = dtype};
      c.initial = true;
      c.cu_seqlens = {0, 1, 1, 4, 30, 33, 130, 200};
      if (last) c.place_x = c.place_out = channel_last();
      const ConvTensors t(c);
      const Array states(c.states, ConvTensors::states_shape(c));
      const Array all = forward(t.x, t.weight, t.inputs, t.params, c.place_out, &states.tensor());
      for (std::size_t i = 0; i + 1 < c.cu_seqlens.size(); ++i) {
        const std::int64_t first = c.cu_seqlens[i], count = c.cu_seqlens[i + 1] - first;
        const Tensor initial = item_view(t.initial, static_cast<std::int64_t>(i));
        CausalConv1dInputs inputs = t.inputs;
        inputs.cu_seqlens = nullptr;
        inputs.initial_states = &initial;
        const Array state(c.states, {c.channels, c.taps - 1});
        const Array alone =
            forward(last_axis_slice(item_view(t.x, 0), first, count), t.weight, inputs, t.params, {}, &state.tensor());
        for (std::int64_t j = 0; j < alone.numel(); ++j) {
          ASSERT_EQ(alone.bytes_of(j), all.bytes_of(j / count * c.steps + first + j % count)) << c.text() << i;
        }
        for (std::int64_t j = 0; j < state.numel(); ++j) {
          ASSERT_EQ(state.bytes_of(j), states.bytes_of(static_cast<std::int64_t>(i) * state.numel() + j));
        }
      }
      ConvCase batch{.items = 3, .channels = 40, .steps = 77, .taps = 3, .dtype = dtype};
      batch.place_x = batch.place_out = c.place_x;
      const ConvTensors b(batch);
      const Array together = forward(b.x, b.weight, b.inputs, b.params, batch.place_out, nullptr);
      for (std::int64_t i = 0; i < batch.items; ++i) {
        const Array alone = forward(item_view(b.x, i), b.weight, b.inputs, b.params, {}, nullptr);
        for (std::int64_t j = 0; j < alone.numel(); ++j) {
          ASSERT_EQ(alone.bytes_of(j), together.bytes_of(i * alone.numel() + j)) << batch.text();
        }
      }
    }
  }
}

// h far from 0 on both sides, infinities and NaN, which silu treats in branches.
TEST(ConvForward, SiluOfEverything) {
  for (const DType dtype : kTypes) {
    ConvCase c{.items = 1, .channels = 8, .steps = 512, .taps = 2, .dtype = dtype, .bias = false};
    ConvTensors t(c);
    for (std::int64_t d = 0; d < c.channels; ++d) {
      t.weight.set(2 * d, 0.0);
      t.weight.set(2 * d + 1, 1.0);
      for (std::int64_t i = 0; i < c.steps; ++i) {
        t.x.set(d * c.steps + i, (static_cast<double>(i) - 256.0) * std::pow(2.0, static_cast<double>(d) - 5.0));
      }
    }
    const Outcome got = run(c, t, false);
    const Array want(DType::kFloat64, t.x.tensor().shape);
    causal_conv1d_reference(t.x, t.weight, t.inputs, t.params, want);
    const double unit = is_half(dtype) ? 0x1p-18 : 2 * computation_unit(dtype);
    const double flushed = is_half(dtype) ? 88 * 0x1p-126 : 0.0;  // a reciprocal below the smallest normal number
    expect_near(
        got.out, want, [&](std::int64_t i) { return unit * std::abs(want.get(i)) + flushed; }, dtype_name(dtype));
    const double infinity = std::numeric_limits<double>::infinity();
    for (std::int64_t i = 0; i < 4; ++i) t.x.set(i * 100, i == 0 ? infinity : i == 1 ? -infinity : i == 2 ? NAN : 80.0);
    for (std::int64_t d = 0; d < c.channels; ++d) t.weight.set(2 * d, 1e-30);
    const Outcome special = run(c, t, false);
    EXPECT_EQ(special.out.get(0).real(), infinity);
    EXPECT_EQ(special.out.get(100).real(), 0.0);
    EXPECT_TRUE(std::isnan(special.out.get(200).real()));
    EXPECT_NEAR(special.out.get(300).real(), 80.0, 0.3);
  }
}

}  // namespace
}  // namespace melisma::gpu
