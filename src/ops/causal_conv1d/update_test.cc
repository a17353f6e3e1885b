#include <algorithm>

#include "ops/causal_conv1d/conv_update_fixtures.h"

namespace melisma {
namespace {

using namespace testing;

void run_and_check(const UpdateCase& c) {
  const UpdateTensors t(c);
  causal_conv1d_update(t.x, t.state, t.weight, t.inputs, t.params, t.out);
  expect_update(c, t);
}

class CausalConv1dUpdateTest : public SimdTest {};
MELISMA_ON_EVERY_SIMD_TARGET(CausalConv1dUpdateTest);

TEST_P(CausalConv1dUpdateTest, ShiftingState) {
  for (const std::int64_t taps : {1, 2, 3, 4, 5, 32}) {
    for (const std::int64_t more : {0, 1, 2, 5}) {
      for (const std::int64_t steps : {1, 2, 3, 7, 8, 20}) {
        for (const DType dtype : kFloats) {
          UpdateCase c{.steps = steps, .taps = taps, .state = taps - 1 + more, .dtype = dtype, .state_type = dtype};
          c.rank2 = steps == 1 && more != 1;
          c.residual = more == 2;
          c.activation = more == 1 ? ConvActivation::kNone : ConvActivation::kSilu;
          run_and_check(c);
          c.place_state = channel_last();
          if (!c.rank2) c.place_x = channel_last();
          run_and_check(c);
          c.place_state = {{2, 1, 0}, 2, 1, {1, 2}};
          if (c.rank2) c.place_x = {{1, 0}, 2, 1, {0}};
          run_and_check(c);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST_P(CausalConv1dUpdateTest, ManyChannels) {
  for (const std::int64_t channels : {1, 2, 15, 16, 17, 255, 256, 257, 600}) {
    for (const std::int64_t state : {1, 2, 3, 4, 5}) {
      run_and_check({.channels = channels, .taps = 2, .state = state, .rank2 = true});
      if (state >= 3) run_and_check({.channels = channels, .state = state, .state_type = DType::kBFloat16});
    }
  }
}

TEST_P(CausalConv1dUpdateTest, Ring) {
  for (const std::int64_t taps : {1, 2, 4}) {
    for (const std::int64_t state : {3, 4, 7}) {
      for (const std::int64_t steps : {1, 2, 3, 9, 15}) {
        UpdateCase c{.steps = steps, .taps = taps, .state = state};
        c.places = {0, 5, 1'000'000'007};
        run_and_check(c);
        c.places = {1, 2, 3};
        c.state_type = c.dtype = DType::kBFloat16;
        run_and_check(c);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(CausalConv1dUpdateTest, RowsByIndexWithPadding) {
  for (const bool ring : {false, true}) {
    UpdateCase c{.items = 4, .rows = 7};
    c.indices = {6, -1, 0, 3};
    if (ring) c.places = {2, 9, 4, 0};
    run_and_check(c);
  }
}

TEST_P(CausalConv1dUpdateTest, AcceptedTokensRollTheStateBack) {
  for (const std::int64_t taps : {1, 2, 4}) {
    for (const std::int64_t steps : {1, 2, 4}) {
      UpdateCase c{.steps = steps, .taps = taps, .state = taps + 3};
      c.accepted = {1, 2, static_cast<std::int32_t>(std::min<std::int64_t>(steps, 5))};
      run_and_check(c);
    }
  }
  // Drafts of which some stand, against the steps that stand alone.
  const std::int64_t channels = 24, drafts = 3, tokens = 40;
  const Array x = Array(DType::kFloat32, {1, channels, tokens}).randomize(1),
              junk = Array(DType::kFloat32, {1, channels, 4}).randomize(2);
  const Array weight = Array(DType::kFloat32, {channels, 4}).randomize(3),
              whole(DType::kFloat32, {1, channels, tokens});
  causal_conv1d(x, weight, {}, {}, whole);
  Array state(DType::kFloat32, {1, channels, 2 + drafts + 1});
  for (std::int64_t i = 0; i < state.numel(); ++i) state.set(i, 0.0);
  std::int32_t accepted = 1;
  std::int64_t first = 0;
  for (int call = 0; first + drafts + 1 <= tokens; ++call) {
    // The first `stands` tokens of this call are right.
    const std::int64_t stands = 1 + call % (drafts + 1);
    Array now(DType::kFloat32, {1, channels, drafts + 1});
    const Array out(DType::kFloat32, {1, channels, drafts + 1});
    for (std::int64_t i = 0; i < now.numel(); ++i) {
      const std::int64_t d = i / (drafts + 1), s = i % (drafts + 1);
      now.set(i, s < stands ? x.get(d * tokens + first + s) : junk.get(i));
    }
    const IndexTensor count(&accepted, {1});
    CausalConv1dUpdateInputs inputs;
    inputs.num_accepted_tokens = &count;
    causal_conv1d_update(now, state, weight, inputs, {}, out);
    for (std::int64_t d = 0; d < channels; ++d) {
      for (std::int64_t s = 0; s < stands; ++s) {
        ASSERT_EQ(out.bytes_of(d * (drafts + 1) + s), whole.bytes_of(d * tokens + first + s)) << call;
      }
    }
    first += stands;
    accepted = static_cast<std::int32_t>(stands);
  }
}

TEST_P(CausalConv1dUpdateTest, StepByStepEqualsTheWholeBitForBit) {
  for (const DType dtype : kFloats) {
    for (const std::int64_t taps : {2, 3, 4, 6}) {
      for (const std::int64_t ring : {0, 1}) {
        const std::int64_t channels = 35, steps = 30, S = taps + ring;
        const Array x = Array(dtype, {2, channels, steps}).randomize(4),
                    weight = Array(DType::kFloat32, {channels, taps}).randomize(5);
        const Array whole(dtype, {2, channels, steps}), parts(dtype, {2, channels, steps});
        const CausalConv1dParams params{ConvActivation::kSilu, true};
        causal_conv1d(x, weight, {}, params, whole);
        Array state(dtype, {2, channels, S});
        for (std::int64_t i = 0; i < state.numel(); ++i) state.set(i, 0.0);
        std::int32_t places[2] = {0, 0};
        const IndexTensor place(places, {2});
        CausalConv1dUpdateInputs inputs;
        if (ring != 0) inputs.cache_seqlens = &place;
        std::int64_t first = 0;
        for (const std::int64_t count : {1, 1, 1, 1, 1, 1, 3, 8, 1, 12}) {
          causal_conv1d_update(last_axis_slice(x, first, count), state, weight, inputs, params,
                               last_axis_slice(parts, first, count));
          first += count;
          places[0] = places[1] = static_cast<std::int32_t>(first);
        }
        ASSERT_EQ(first, steps);
        EXPECT_TRUE(same_bits(parts, whole)) << dtype_name(dtype) << taps;
      }
    }
  }
}

TEST_P(CausalConv1dUpdateTest, ThreadsDoNotChangeBits) {
  UpdateCase c{.items = 20, .channels = 700, .rows = 20};
  const UpdateTensors one(c), many(c);
  const Array a(c.dtype, one.x.tensor().shape), b(c.dtype, one.x.tensor().shape);
  {
    const Threads threads(1);
    causal_conv1d_update(one.x, one.state, one.weight, one.inputs, one.params, a);
  }
  const Threads threads(4);
  causal_conv1d_update(many.x, many.state, many.weight, many.inputs, many.params, b);
  EXPECT_TRUE(same_bits(a, b));
  EXPECT_TRUE(same_bits(one.state, many.state));
}

TEST(CausalConv1dUpdateErrorTest, RefusesAndLeavesTheState) {
  const UpdateCase c;
  const UpdateTensors t(c);
  const Array before = copy_of(t.state, c.state_type), out(c.dtype, t.x.tensor().shape);
  const auto refuses = [&](const std::vector<std::string>& parts, const Tensor& x, const Tensor& state,
                           const CausalConv1dUpdateInputs& inputs, const Tensor& to) {
    expect_error(ErrorKind::kInvalidArgument, "causal_conv1d_update", parts,
                 [&] { causal_conv1d_update(x, state, t.weight, inputs, {}, to); });
    EXPECT_TRUE(same_bits(t.state, before));
    EXPECT_TRUE(out.untouched());
  };
  refuses({"x", "[B, D, T]", "[3]"}, Array(c.dtype, {3}), t.state, {}, out);
  refuses({"weight", "[5, W]", "[21, 4]"}, Array(c.dtype, {3, 5}), t.state, {}, out);
  refuses({"conv_state", "[rows, 21, S]"}, t.x, Array(c.dtype, {3, 20, 3}), {}, out);
  refuses({"conv_state", "3 taps", "got 2"}, t.x, Array(c.dtype, {3, 21, 2}), {}, out);
  refuses({"conv_state", "3 rows", "got 2"}, t.x, Array(c.dtype, {2, 21, 3}), {}, out);
  refuses({"out", "[3, 21, 1]"}, t.x, t.state, {}, Array(c.dtype, {3, 21}));
  const auto refuses_index = [&](const IndexTensor* CausalConv1dUpdateInputs::*member,
                                 const std::vector<std::int32_t>& values, const std::vector<std::string>& parts) {
    const IndexTensor index(values.data(), Shape{static_cast<std::int64_t>(values.size())});
    CausalConv1dUpdateInputs inputs;
    inputs.*member = &index;
    refuses(parts, t.x, t.state, inputs, out);
  };
  refuses_index(&CausalConv1dUpdateInputs::cache_seqlens, {0, -1, 2}, {"cache_seqlens", "0 to", "got -1 at 1"});
  refuses_index(&CausalConv1dUpdateInputs::cache_seqlens, {0, 1}, {"cache_seqlens", "[3]", "[2]"});
  refuses_index(&CausalConv1dUpdateInputs::conv_state_indices, {0, 3, 1},
                {"conv_state_indices", "below 3", "got 3 at 1"});
  refuses_index(&CausalConv1dUpdateInputs::conv_state_indices, {0, -2, 1}, {"conv_state_indices", "got -2"});
  refuses_index(&CausalConv1dUpdateInputs::conv_state_indices, {2, 1, 2}, {"conv_state_indices", "once", "2 twice"});
  refuses_index(&CausalConv1dUpdateInputs::num_accepted_tokens, {1, 0, 1}, {"num_accepted_tokens", "1 to 1", "got 0"});
  refuses_index(&CausalConv1dUpdateInputs::num_accepted_tokens, {1, 2, 1}, {"num_accepted_tokens", "1 to 1", "got 2"});
}

}  // namespace
}  // namespace melisma
