// Prefill and decoding in one call, with states in a pool.
#include "ops/causal_conv1d/conv_pool_fixtures.h"

namespace melisma {
namespace {

using namespace testing;

class CausalConv1dPoolTest : public SimdTest {};
MELISMA_ON_EVERY_SIMD_TARGET(CausalConv1dPoolTest);

TEST_P(CausalConv1dPoolTest, SequencesComeOutAsAlone) {
  expect_pools([](const Tensor& x, const Tensor& weight, const CausalConv1dInputs& inputs,
                  const CausalConv1dParams& params, const Tensor& out,
                  const Tensor* states) { causal_conv1d(x, weight, inputs, params, out, states); });
}

TEST(CausalConv1dPoolReferenceTest, SequencesComeOutAsAlone) {
  for (const bool in_place : {false, true}) {
    expect_pool({.dtype = DType::kFloat64, .states = DType::kFloat64, .in_place = in_place},
                [](const Tensor& x, const Tensor& weight, const CausalConv1dInputs& inputs,
                   const CausalConv1dParams& params, const Tensor& out,
                   const Tensor* states) { causal_conv1d_reference(x, weight, inputs, params, out, states); });
  }
}

TEST(CausalConv1dPoolErrorTest, RefusesAndLeavesThePool) {
  const ConvCase c{.items = 1, .channels = 3, .steps = 10, .cu_seqlens = {0, 4, 10}};
  const ConvTensors t(c);
  const Array pool(c.dtype, {5, 3, 3}), out(c.dtype, t.x.tensor().shape), flat(c.dtype, {3, 3}),
      other(c.dtype, {4, 3, 3});
  const auto refuses = [&](const std::vector<std::string>& parts, const std::vector<std::int32_t>& rows,
                           const Tensor* initial, const Tensor* states, std::int64_t flag_count = 2) {
    const std::vector<std::uint8_t> flags(3);
    const FlagTensor has_initial(flags.data(), {flag_count});
    const IndexTensor index(rows.data(), {static_cast<std::int64_t>(rows.size())});
    CausalConv1dInputs inputs = t.inputs;
    inputs.state_indices = &index;
    inputs.has_initial_state = &has_initial;
    inputs.initial_states = initial;
    expect_error(ErrorKind::kInvalidArgument, "causal_conv1d", parts,
                 [&] { causal_conv1d(t.x, t.weight, inputs, {}, out, states); });
    EXPECT_TRUE(pool.untouched());
    EXPECT_TRUE(out.untouched());
  };
  const Tensor* const all = &pool.tensor();
  refuses({"state_indices", "[2]", "[3]"}, {0, 1, 2}, all, all);
  refuses({"state_indices", "below 5", "padding's -1", "got 5 at 1"}, {0, 5}, all, all);
  refuses({"state_indices", "got -2 at 0"}, {-2, 1}, all, all);
  refuses({"state_indices", "once", "3 twice"}, {3, 3}, all, all);
  refuses({"state_indices", "initial_states or final_states"}, {0, 1}, nullptr, nullptr);
  refuses({"initial_states", "[rows, 3, 3]", "[3, 3]"}, {0, 1}, &flat.tensor(), all);
  refuses({"final_states", "[rows, 3, 3]", "[3, 3]"}, {0, 1}, nullptr, &flat.tensor());
  refuses({"final_states", "[5, 3, 3]", "[4, 3, 3]"}, {0, 1}, all, &other.tensor());
  refuses({"has_initial_state", "[2]", "[3]"}, {0, 1}, all, all, 3);
  CausalConv1dInputs inputs = t.inputs;
  const std::int32_t rows[] = {0, 1};
  const IndexTensor index(rows, {2});
  inputs.state_indices = &index;
  inputs.initial_states = all;
  expect_error(ErrorKind::kInvalidArgument, "causal_conv1d_backward", {"state_indices", "gradient"},
               [&] { causal_conv1d_backward(t.x, nullptr, t.x, t.weight, inputs, {}, {.x = &out.tensor()}); });
  const std::uint8_t flags[] = {1, 0};
  const FlagTensor has_initial(flags, {2});
  inputs = t.inputs;
  inputs.has_initial_state = &has_initial;
  expect_error(ErrorKind::kInvalidArgument, "causal_conv1d_backward", {"has_initial_state", "gradient"},
               [&] { causal_conv1d_backward(t.x, nullptr, t.x, t.weight, inputs, {}, {.x = &out.tensor()}); });
  EXPECT_TRUE(out.untouched());
}

}  // namespace
}  // namespace melisma
