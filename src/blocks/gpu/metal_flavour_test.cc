// The kernels of metal_kernels.txt under Metal's limits, in the emulator: 32 KiB of threadgroup memory, no float64.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "blocks/gpu/fast_forward.h"
#include "blocks/gpu/fast_inverse_launch.h"
#include "blocks/gpu/forward_job_fixtures.h"
#include "blocks/gpu/generic_forward.h"
#include "blocks/gpu/generic_inverse.h"
#include "blocks/gpu/inverse_job_fixtures.h"
#include "melisma/filter_bank.h"
#include "melisma/window.h"
#include "runtime/emulator/runner.h"

namespace melisma::gpu {

// Of 400 and 1024 samples 32 KiB hold two warps.
constexpr int kTwoWarps400 = 400, kTwoWarps1024 = 1024;
template <>
struct FastInverseVariant<kTwoWarps400> {
  static constexpr int kC = 20, kR = 10, kLanes = 10, kWarps = 2, kMinBlocks = 1, kBuffers = 1;
};
template <>
struct FastInverseVariant<kTwoWarps1024> {
  static constexpr int kC = 32, kR = 16, kLanes = 16, kWarps = 2, kMinBlocks = 1, kBuffers = 1;
};

namespace {

using testing::Array;

// Bluestein's transforms are in float32 here, where other devices take float64.
constexpr double kAllowed = 4e-6;

Array hann(std::int64_t length) {
  Array window(DType::kFloat32, {length});
  melisma::make_window("hann", true, 0.0, window);
  return window;
}

template <typename Run>
void expect_stft(std::int64_t n, std::int64_t hop, Run run) {
  for (const Layout layout : {Layout::kFrequencyMajor, Layout::kFrameMajor}) {
    StftParams params;
    params.frames.n_fft = n;
    params.frames.hop_length = hop;
    params.layout = layout;
    const Array x = Array(DType::kFloat32, {2, 5 * n + 3}).randomize(3);
    const Array window = hann(n);
    const Shape shape = stft_shape(x, params);
    const Array reference(DType::kComplex128, shape), out(DType::kComplex64, shape);
    stft_reference(x, &window.tensor(), params, reference);
    run(testing::stft_job(x, &window.tensor(), params, out));
    EXPECT_LT(testing::relative_error(out, reference), kAllowed) << "n_fft " << n;
  }
}

TEST(MetalFlavour, GenericStft) {
  for (const std::int64_t n : {1, 15, 97, 400, 1024, 2048, 8192}) {  // the last in device memory
    expect_stft(n, n / 4 + 1, [](const ForwardJob& job) {
      emulator::Runner runner(emulator::Options::metal());
      run_generic_forward(job, runner);
    });
  }
}

// The first variant of the size that Metal's memory holds: frames next to each other need a warp's rows twice, which
// only the smallest have room for.
void run_fast(const ForwardJob& job) {
  emulator::Runner runner(emulator::Options::metal());
  const bool any = !fast_forward_indices(job, runner.shared_limit()).empty();
  EXPECT_TRUE(any || job.out.bin_stride != 1) << "n_fft " << job.framing.n_fft;
  any ? run_fast_forward(job, runner) : run_generic_forward(job, runner);
}

TEST(MetalFlavour, FastStft) {
  for (const std::int64_t n : {128, 256, 400, 512}) expect_stft(n, n / 4 + 1, run_fast);
}

template <typename Run>
void expect_bands(std::int64_t n, Run run) {
  FilteredSpectrogramParams params;
  params.spectrogram.frames.n_fft = n;
  params.spectrogram.frames.hop_length = n / 4;
  params.log.enabled = true;
  params.log.floor = 1e-5;
  const FilterBank bank = FilterBank::mel(n / 2 + 1, {.sample_rate = 16000, .n_mels = 40});
  const Array weights(DType::kFloat32, {bank.bins(), bank.bands()});
  bank.to_dense(weights);
  const Array x = Array(DType::kFloat32, {2, 4 * n + 1}).randomize(5);
  const Array window = hann(n);
  const Shape shape = filtered_spectrogram_shape(x, bank, params);
  const Array reference(DType::kFloat64, shape), out(DType::kFloat32, shape);
  filtered_spectrogram_reference(x, &window.tensor(), bank, params, reference);
  run(testing::bands_job(x, &window.tensor(), bank, weights, params, out));
  EXPECT_LT(testing::relative_error(out, reference), kAllowed) << "n_fft " << n;
}

TEST(MetalFlavour, Bands) {
  expect_bands(400, [](const ForwardJob& job) {
    emulator::Runner runner(emulator::Options::metal());
    run_generic_forward(job, runner);
  });
  for (const std::int64_t n : {128, 256, 400, 512}) expect_bands(n, run_fast);
}

template <typename Run>
void expect_istft(std::int64_t n, Run run) {
  IstftParams params;
  params.n_fft = n;
  params.hop_length = n / 4;
  const Array spec = Array(DType::kComplex64, {2, n / 2 + 1, 9}).randomize(11);
  const Array window = hann(n);
  const Shape shape = istft_shape(spec, params);
  const Array reference(DType::kFloat64, shape), out(DType::kFloat32, shape);
  istft_reference(spec, &window.tensor(), params, reference);
  run(testing::istft_job(spec, &window.tensor(), params, out));
  EXPECT_LT(testing::relative_error(out, reference), kAllowed) << "n_fft " << n;
}

TEST(MetalFlavour, GenericIstft) {
  for (const std::int64_t n : {16, 97, 400, 1024}) {
    expect_istft(n, [](const InverseJob& job) {
      emulator::Runner runner(emulator::Options::metal());
      run_generic_inverse(job, runner);
    });
  }
}

TEST(MetalFlavour, FastIstft) {
  emulator::Runner runner(emulator::Options::metal());
  expect_istft(400, [&](const InverseJob& job) { launch_fast_inverse<kTwoWarps400>(job, runner); });
  expect_istft(512, [&](const InverseJob& job) { launch_fast_inverse<3>(job, runner); });
  expect_istft(1024, [&](const InverseJob& job) { launch_fast_inverse<kTwoWarps1024>(job, runner); });
}

}  // namespace
}  // namespace melisma::gpu
