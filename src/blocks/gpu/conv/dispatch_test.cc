#include <gtest/gtest.h>

#include "blocks/gpu/run.h"
#include "ops/causal_conv1d/conv_fixtures.h"
#include "ops/causal_conv1d/gpu.h"
#include "testing/emulator_backend.h"

namespace melisma::gpu {
namespace {

using namespace testing;

ConvForwardJob forward_job(const ConvTensors& t, const Array& out) {
  const ConvCall call = check_causal_conv1d("conv", t.x, t.weight, t.inputs);
  return conv_gpu_job(t.x, t.weight, t.inputs, t.params, call, out, nullptr);
}

Explanation explanation(const ConvCase& c) {
  const ConvTensors t(c);
  const Array out(c.dtype, t.x.tensor().shape, c.place_out);
  return explain("conv", kEmulated, forward_job(t, out));
}

TEST(ConvDispatch, ExplainsWhichKernel) {
  ConvCase c{.channels = 16, .steps = 64, .taps = 4};
  EXPECT_EQ(explanation(c).kernel, "conv-rows, 4 taps in registers, float32");
  c.place_x = c.place_out = channel_last();
  c.dtype = DType::kBFloat16;
  EXPECT_EQ(explanation(c).kernel, "conv-channels, 4 taps in registers, bfloat16");
  c.place_out = {};
  EXPECT_EQ(explanation(c).kernel, "conv-generic");
  EXPECT_EQ(explanation(c).reason, "neither steps nor channels of x and out are contiguous");
  c.taps = 5;
  EXPECT_EQ(explanation(c).reason, "the fast kernels have 2 to 4 taps");
}

TEST(ConvDispatch, RunsOnTheBackend) {
  const ConvCase c{.channels = 16, .steps = 64, .taps = 4};
  const ConvTensors t(c);
  const Array out(c.dtype, t.x.tensor().shape), want(DType::kFloat64, t.x.tensor().shape);
  run("conv", kEmulated, forward_job(t, out), {});
  causal_conv1d_reference(t.x, t.weight, t.inputs, t.params, want);
  out.expect_written_exactly(c.text());
  expect_near(
      out, want, [](std::int64_t) { return 1e-5; }, c.text());

  const Array above = Array(c.dtype, t.x.tensor().shape).randomize(9), gradient(c.dtype, t.x.tensor().shape);
  const ConvCall call = check_causal_conv1d("conv", t.x, t.weight, t.inputs);
  const CausalConv1dGradients to{.x = &gradient.tensor()}, exact{.x = &want.tensor()};
  run("conv", kEmulated, conv_backward_gpu_job(above, nullptr, t.x, t.weight, t.inputs, t.params, call, to), {});
  causal_conv1d_backward_reference(above, nullptr, t.x, t.weight, t.inputs, t.params, exact);
  expect_near(
      gradient, want, [](std::int64_t) { return 1e-5; }, c.text());

  const Array state = Array(c.dtype, {c.items, c.channels, 3}).randomize(4), next(c.dtype, {c.items, c.channels});
  const Array x = Array(c.dtype, {c.items, c.channels}).randomize(5);
  const Array exact_state = copy_of(state, DType::kFloat64), exact_next(DType::kFloat64, {c.items, c.channels});
  run("conv", kEmulated, conv_update_gpu_job(x, state, t.weight, {}, t.params, next), {});
  causal_conv1d_update_reference(x, exact_state, t.weight, {}, t.params, exact_next);
  expect_near(
      next, exact_next, [](std::int64_t) { return 1e-5; }, c.text());
}

}  // namespace
}  // namespace melisma::gpu
