#include "blocks/gpu/conv/update.h"

#include <gtest/gtest.h>

#include "ops/causal_conv1d/conv_update_fixtures.h"
#include "ops/causal_conv1d/gpu.h"
#include "runtime/emulator/runner.h"

namespace melisma::gpu {
namespace {

using namespace testing;

ConvUpdateJob job_of(const UpdateTensors& t) {
  return conv_update_gpu_job(t.x, t.state, t.weight, t.inputs, t.params, t.out);
}

void check(const UpdateCase& c, const emulator::Options& device = {}) {
  const UpdateTensors t(c), u(c);
  emulator::Runner runner(device);
  run_conv(job_of(t), false, runner);
  run_conv(job_of(u), true, runner);
  expect_update(c, t);
  EXPECT_TRUE(same_bits(t.out, u.out)) << c.text();
  EXPECT_TRUE(same_bits(t.state, u.state)) << c.text();
}

TEST(ConvUpdate, OneStep) {
  for (const DType dtype : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    for (const std::int64_t taps : {2, 3, 4}) {
      for (const std::int64_t more : {0, 1}) {
        UpdateCase c{
            .channels = 20, .taps = taps, .state = taps - 1 + more, .rows = 5, .dtype = dtype, .state_type = dtype};
        c.rank2 = taps != 3;
        c.weights = taps == 4 ? dtype : DType::kFloat32;
        c.residual = more == 1;
        c.activation = taps == 2 ? ConvActivation::kNone : ConvActivation::kSilu;
        if (more == 1) c.indices = {4, -1, 0};
        const UpdateTensors t(c);
        EXPECT_EQ(step_conv_refuses(job_of(t)), "") << c.text();
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
          UpdateCase c{
              .channels = 7, .steps = steps, .taps = taps, .state = taps - 1 + more, .rows = 5, .dtype = dtype};
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
        UpdateCase c{.channels = 9, .steps = steps, .taps = taps, .rows = 5, .dtype = dtype, .state_type = dtype};
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
