#include "blocks/gpu/generic_window.h"

#include <gtest/gtest.h>

#include <string>

#include "blocks/gpu/inverse_job_fixtures.h"
#include "runtime/emulator/runner.h"

namespace melisma::gpu {
namespace {

using testing::Array;
using testing::Placement;

struct Case {
  DType dtype = DType::kFloat32, result = DType::kFloat32;
  Placement x = {}, grad = {}, out = {};
  emulator::Options device = {};
};

void expect_window_gradient(const StftParams& params, std::int64_t items, std::int64_t length, const Case& c = {}) {
  const Array x = Array(c.dtype, {items, length}, c.x).randomize(1);
  const Array grad = Array(testing::complex_of(c.dtype), stft_shape(x, params), c.grad).randomize(2);
  const FrameParams& frames = params.frames;
  const std::int64_t win = frames.win_length == 0 ? frames.n_fft : frames.win_length;
  const Array out(c.result, {win}, c.out), reference(DType::kFloat64, {win});
  stft_window_gradient_reference(x, grad, params, reference);
  emulator::Runner runner(c.device);
  run_generic_window(testing::window_gradient_job(x, grad, params, out), runner);
  const std::string what = std::string(dtype_name(c.dtype)) + ", n_fft " + std::to_string(frames.n_fft) + ", hop " +
                           std::to_string(frames.hop_length) + ", items " + std::to_string(items) + ", length " +
                           std::to_string(length);
  out.expect_written_exactly(what);
  const bool is_double = testing::is_double(c.dtype) && c.result == DType::kFloat64;
  EXPECT_LE(testing::relative_rms_error(out, reference), is_double ? 1e-13 : 1e-6) << what;
}

StftParams stft_params(std::int64_t n_fft, std::int64_t hop) {
  StftParams params;
  params.frames = {.n_fft = n_fft, .hop_length = hop};
  return params;
}

TEST(GenericWindow, EverySize) {
  for (const std::int64_t n :
       {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 30, 64, 97, 100, 128, 400, 441, 512, 1000, 1024}) {
    for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
      expect_window_gradient(stft_params(n, n / 3 + 1), 2, 2 * n + 1, {.dtype = dtype, .result = dtype});
    }
  }
}

TEST(GenericWindow, FramingsAndSpectra) {
  for (const PadMode mode : {PadMode::kConstant, PadMode::kReflect, PadMode::kReplicate, PadMode::kCircular}) {
    for (const std::int64_t hop : {1, 5, 40}) {
      StftParams params = stft_params(16, hop);
      params.frames.win_length = 11;
      params.frames.pad_mode = mode;
      params.frames.pad = hop == 5 ? 3 : 0;
      params.normalized = hop == 1;
      params.nyquist = hop != 40;
      expect_window_gradient(params, 3, 100, {.dtype = hop == 5 ? DType::kInt16 : DType::kFloat32});
      params.onesided = false;
      params.nyquist = true;
      expect_window_gradient(params, 3, 100);
      expect_window_gradient(params, 3, 100, {.dtype = DType::kComplex64, .result = DType::kFloat64});
    }
  }
}

TEST(GenericWindow, StridesOrdersAndDevices) {
  const StftParams params = stft_params(12, 3);
  const Case strided{.x = {{}, 2, 1, {1}}, .grad = {{0, 2, 1}, 1, 3, {}}, .out = {{}, 3, 0, {0}}};
  for (const emulator::Options& options : emulator::every_order()) {
    Case c = strided;
    c.device = options;
    expect_window_gradient(params, 5, 90, c);
  }
  for (const std::int64_t n : {12, 97, 512}) {
    expect_window_gradient(stft_params(n, n / 4), 2, 3 * n, {.device = emulator::Options::metal()});
  }
}

// Items without frames between two launches' worth of them, and more groups than blocks at once.
TEST(GenericWindow, ManyGroups) {
  const StftParams params = stft_params(4, 1);
  expect_window_gradient(params, 41, 300);
  expect_window_gradient(params, 300, 3);
}

TEST(GenericWindow, NoItemsGiveZeros) {
  const StftParams params = stft_params(8, 2);
  const Array x(DType::kFloat32, {0, 50}), grad(DType::kComplex64, stft_shape(x, params)), out(DType::kFloat32, {8});
  emulator::Runner runner;
  run_generic_window(testing::window_gradient_job(x, grad, params, out), runner);
  for (std::int64_t i = 0; i < 8; ++i) EXPECT_EQ(out.get(i), 0.0) << i;
}

}  // namespace
}  // namespace melisma::gpu
