// Inverse and window jobs through device memory, with chunks of every size.
#include "blocks/gpu/large_inverse.h"

#include <gtest/gtest.h>

#include <string>

#include "blocks/gpu/generic_inverse.h"
#include "blocks/gpu/generic_window.h"
#include "blocks/gpu/inverse_job_fixtures.h"
#include "melisma/window.h"
#include "runtime/emulator/runner.h"

namespace melisma::gpu {
namespace {

using testing::Array;

constexpr std::int64_t kFewFrames[] = {1, 2, 5, 1000};  // a chunk's

// A device on which hardly anything fits in shared memory.
emulator::Runner small_device() {
  emulator::Options options;
  options.shared_limit = 4 << 10;
  return emulator::Runner(options);
}

double allowed(DType x) { return testing::is_double(x) ? 1e-13 : 1e-6; }

Array raised_hann(std::int64_t length, DType dtype) {
  Array window(dtype, {length});
  melisma::make_window("hann", true, 0.0, window);
  for (std::int64_t i = 0; i < length; ++i) window.set(i, window.get(i) + 0.1);
  return window;
}

// Device memory for about so many frames.
template <typename T>
std::int64_t workspace_of(std::int64_t frames, const InverseJob& job) {
  const std::int64_t values = block_transform(transform_values(job.framing.n_fft, complex_frames(job)));
  std::int64_t bytes = 2 * values * static_cast<std::int64_t>(sizeof(Complex<T>));
  if (job.bands) bytes += (job.power.bank.bands + job.power.bank.bins) * static_cast<std::int64_t>(sizeof(T));
  return frames * bytes;
}

TEST(LargeInverse, EveryHopAndChunk) {
  for (const std::int64_t n : {1, 8, 15, 34, 97}) {
    for (const std::int64_t hop : {std::int64_t{1}, n / 3 + 1, n, n + 5}) {
      IstftParams params{.n_fft = n, .hop_length = hop, .edge = EdgePolicy::kZero};
      params.length = (n - 1) / 2 + 7 * hop + 3;
      const Array spec = Array(DType::kComplex64, {3, n / 2 + 1, 7}).randomize(3),
                  window = raised_hann(n, DType::kFloat32);
      const Shape shape = istft_shape(spec, params);
      const Array reference(DType::kFloat64, shape);
      istft_reference(spec, &window.tensor(), params, reference);
      for (const std::int64_t frames : kFewFrames) {
        const std::string what =
            "n_fft " + std::to_string(n) + ", hop " + std::to_string(hop) + ", chunks of " + std::to_string(frames);
        const Array out(DType::kFloat32, shape);
        const InverseJob job = testing::istft_job(spec, &window.tensor(), params, out);
        emulator::Runner runner = small_device();
        run_large_inverse<float, float>(job, runner, workspace_of<float>(frames, job));
        out.expect_written_exactly(what);
        EXPECT_LE(testing::relative_rms_error(out, reference), allowed(DType::kFloat32)) << what;
      }
    }
  }
}

TEST(LargeInverse, ComplexResultsAndPadding) {
  for (const PadMode mode : {PadMode::kConstant, PadMode::kReflect, PadMode::kReplicate, PadMode::kCircular}) {
    for (const std::int64_t n : {12, 15}) {
      StftParams params;
      params.frames = {.n_fft = n, .hop_length = 4, .pad_mode = mode, .pad = n == 12 ? 3 : 0};
      params.onesided = false;
      const Array window = raised_hann(n, DType::kFloat64);
      for (const DType dtype : {DType::kFloat64, DType::kComplex128}) {
        const Array out(dtype, {2, 40}), reference(dtype, {2, 40});
        const Array grad = Array(DType::kComplex128, stft_shape(out, params)).randomize(5);
        stft_adjoint_reference(grad, &window.tensor(), params, reference);
        for (const std::int64_t frames : kFewFrames) {
          const InverseJob job = testing::stft_adjoint_job(grad, &window.tensor(), params, out);
          emulator::Runner runner = small_device();
          const std::int64_t workspace = workspace_of<double>(frames, job);
          if (is_complex(dtype)) {
            run_large_inverse<double, Complex<double>>(job, runner, workspace);
          } else {
            run_large_inverse<double, double>(job, runner, workspace);
          }
          EXPECT_LE(testing::relative_rms_error(out, reference), allowed(dtype))
              << "mode " << static_cast<int>(mode) << ", n_fft " << n << ", chunks of " << frames;
        }
      }
    }
  }
}

TEST(LargeInverse, Gradients) {
  for (const std::int64_t n : {32, 33}) {
    const FilterBank bank = FilterBank::mel(n / 2 + 1, {.sample_rate = 16000.0, .n_mels = 6});
    const Array weights(DType::kFloat64, {bank.bins(), bank.bands()});
    bank.to_dense(weights);
    FilteredSpectrogramParams params;
    params.spectrogram.frames = {.n_fft = n, .hop_length = 10};
    const Array x = Array(DType::kFloat64, {2, 150}).randomize(1), window = raised_hann(n, DType::kFloat64);
    const Array out(DType::kFloat64, {2, 150}), reference(DType::kFloat64, {2, 150});
    for (const std::int64_t frames : kFewFrames) {
      for (const bool log : {false, true}) {
        params.log = {.enabled = log, .mul = 2.0, .add = 0.5};
        const Array grad = Array(DType::kFloat64, filtered_spectrogram_shape(x, bank, params)).randomize(2);
        filtered_spectrogram_backward_reference(x, grad, &window.tensor(), bank, params, reference);
        const InverseJob job = testing::bands_backward_job(x, grad, &window.tensor(), bank, weights, log, params, out);
        emulator::Runner runner = small_device();
        run_large_inverse<double, double>(job, runner, workspace_of<double>(frames, job));
        EXPECT_LE(testing::relative_rms_error(out, reference), 1e-12) << n << ", chunks of " << frames;
      }
      const Array grad = Array(DType::kFloat64, spectrogram_shape(x, params.spectrogram)).randomize(2);
      spectrogram_backward_reference(x, grad, &window.tensor(), params.spectrogram, reference);
      const InverseJob job = testing::spectrogram_backward_job(x, grad, &window.tensor(), params.spectrogram, out);
      emulator::Runner runner = small_device();
      run_large_inverse<double, double>(job, runner, workspace_of<double>(frames, job));
      EXPECT_LE(testing::relative_rms_error(out, reference), 1e-12) << n << ", chunks of " << frames;
    }
  }
}

TEST(LargeInverse, FractionalHops) {
  StftParams params;
  params.frames = {.n_fft = 16, .pad_mode = PadMode::kConstant, .tail = FrameTail::kCovers, .fractional_hop = 4.41};
  const Array out(DType::kFloat64, {2, 90}), reference(DType::kFloat64, {2, 90});
  const Array grad = Array(DType::kComplex128, stft_shape(out, params)).randomize(5);
  stft_adjoint_reference(grad, nullptr, params, reference);
  for (const std::int64_t frames : kFewFrames) {
    const InverseJob job = testing::stft_adjoint_job(grad, nullptr, params, out);
    emulator::Runner runner = small_device();
    run_large_inverse<double, double>(job, runner, workspace_of<double>(frames, job));
    EXPECT_LE(testing::relative_rms_error(out, reference), 1e-13) << "chunks of " << frames;
  }
}

// What does not fit goes this way by itself.
TEST(LargeInverse, SizesBeyondSharedMemory) {
  for (const std::int64_t n : {512, 441, 1000}) {
    for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
      const DType complex = testing::complex_of(dtype);
      StftParams params;
      params.frames = {.n_fft = n, .hop_length = n / 4};
      const Array x = Array(dtype, {2, 2 * n}).randomize(1), window = raised_hann(n, dtype);
      const Array grad = Array(complex, stft_shape(x, params)).randomize(2);
      const Array out(dtype, {2, 2 * n}), reference(DType::kFloat64, {2, 2 * n});
      const Array sums(dtype, {n}), sums_reference(DType::kFloat64, {n});
      stft_adjoint_reference(grad, &window.tensor(), params, reference);
      stft_window_gradient_reference(x, grad, params, sums_reference);
      emulator::Runner runner = small_device();
      run_generic_inverse(testing::stft_adjoint_job(grad, &window.tensor(), params, out), runner);
      run_generic_window(testing::window_gradient_job(x, grad, params, sums), runner);
      out.expect_written_exactly("n_fft " + std::to_string(n));
      EXPECT_LE(testing::relative_rms_error(out, reference), allowed(dtype)) << n;
      EXPECT_LE(testing::relative_rms_error(sums, sums_reference), allowed(dtype)) << n;
    }
  }
}

TEST(LargeInverse, WindowSumsOfEveryChunk) {
  StftParams params;
  params.frames = {.n_fft = 20, .hop_length = 7};
  const Array x = Array(DType::kFloat32, {3, 90}).randomize(1), reference(DType::kFloat64, {20});
  const Array grad = Array(DType::kComplex64, stft_shape(x, params)).randomize(2), sums(DType::kFloat64, {20});
  stft_window_gradient_reference(x, grad, params, reference);
  for (const std::int64_t frames : kFewFrames) {
    const WindowJob job = testing::window_gradient_job(x, grad, params, sums);
    emulator::Runner runner = small_device();
    sum_large_window<float>(job, sums.tensor().as<double>(), runner, workspace_of<float>(frames, job.gradient));
    for (std::int64_t i = 0; i < 20; ++i) sums.tensor().as<double>()[i] *= job.gradient.window.scale;
    EXPECT_LE(testing::relative_rms_error(sums, reference), 1e-6) << "chunks of " << frames;
  }
}

}  // namespace
}  // namespace melisma::gpu
