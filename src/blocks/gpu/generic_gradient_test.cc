// Gradients of spectrograms and of their bands through run_generic_inverse.
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "blocks/gpu/generic_inverse.h"
#include "blocks/gpu/inverse_job_fixtures.h"
#include "melisma/filtered_spectrogram.h"
#include "melisma/window.h"
#include "runtime/emulator/runner.h"

namespace melisma::gpu {
namespace {

using testing::Array;
using testing::Placement;

struct Case {
  DType dtype = DType::kFloat32;
  Placement x = {}, grad = {}, out = {};
  emulator::Options device = {};
};

// A bin whose magnitude is small beside its frame's has a direction of few digits, and for powers below 2 a gradient
// that is not small: the errors of such bins are beyond those of a transform.
double allowed(DType x, double power) {
  if (testing::is_double(x)) return power < 2 ? 3e-11 : 1e-13;
  return power < 2 ? 3e-5 : 1e-6;
}

Array hann(std::int64_t length, DType dtype) {
  Array window(testing::is_double(dtype) ? DType::kFloat64 : DType::kFloat32, {length});
  melisma::make_window("hann", true, 0.0, window);
  for (std::int64_t i = 0; i < length; ++i) window.set(i, window.get(i) + 0.1);
  return window;
}

std::string describe(const SpectrogramParams& p, const Case& c) {
  return std::string(dtype_name(c.dtype)) + ", n_fft " + std::to_string(p.frames.n_fft) + ", hop " +
         std::to_string(p.frames.hop_length) + ", power " + std::to_string(p.power) + ", layout " +
         std::to_string(static_cast<int>(p.layout));
}

void expect_spectrogram(const SpectrogramParams& params, std::int64_t length, const Case& c = {}) {
  const Array x = Array(c.dtype, {2, length}, c.x).randomize(1), window = hann(params.frames.n_fft, c.dtype);
  const Array grad = Array(c.dtype, spectrogram_shape(x, params), c.grad).randomize(2);
  const Array reference(DType::kFloat64, {2, length}), out(c.dtype, {2, length}, c.out);
  spectrogram_backward_reference(testing::copy_of(x, DType::kFloat64), testing::copy_of(grad, DType::kFloat64),
                                 &window.tensor(), params, reference);
  emulator::Runner runner(c.device);
  run_generic_inverse(testing::spectrogram_backward_job(x, grad, &window.tensor(), params, out), runner);
  out.expect_written_exactly(describe(params, c));
  double most = allowed(c.dtype, params.power);
  if (is_half(c.dtype)) {  // that of the rounding at the end
    most = 1.01 * testing::relative_rms_error(testing::copy_of(reference, c.dtype), reference);
  }
  EXPECT_LE(testing::relative_rms_error(out, reference), most) << describe(params, c);
}

SpectrogramParams spectrogram(std::int64_t n_fft, std::int64_t hop, double power) {
  SpectrogramParams params;
  params.frames = {.n_fft = n_fft, .hop_length = hop};
  params.power = power;
  return params;
}

TEST(GenericGradient, SpectrogramOfEverySizeAndPower) {
  for (const std::int64_t n : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 30, 64, 97, 100, 128, 400, 441, 512, 1000}) {
    for (const double power : {2.0, 1.0, 0.7, 3.0}) {
      if (n > 128 && power != 2.0) continue;
      for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
        expect_spectrogram(spectrogram(n, n / 3 + 1, power), 2 * n + 3, {.dtype = dtype});
      }
    }
  }
}

TEST(GenericGradient, SpectrogramFramingsNormsAndStrides) {
  for (const PadMode mode : {PadMode::kConstant, PadMode::kReflect, PadMode::kReplicate, PadMode::kCircular}) {
    for (const SpectrumNorm norm : {SpectrumNorm::kNone, SpectrumNorm::kFrameLength, SpectrumNorm::kWindow}) {
      SpectrogramParams params = spectrogram(16, 5, 2.0);
      params.frames.pad_mode = mode;
      params.frames.pad = norm == SpectrumNorm::kFrameLength ? 3 : 0;
      params.frames.input_scale = 0.25;
      params.norm = norm;
      params.nyquist = norm != SpectrumNorm::kWindow;
      params.layout = norm == SpectrumNorm::kNone ? Layout::kFrameMajor : Layout::kFrequencyMajor;
      expect_spectrogram(params, 60);
      expect_spectrogram(params, 60, {.x = {{}, 2, 1, {1}}, .grad = {{0, 2, 1}, 1, 2, {}}, .out = {{1, 0}, 1, 0, {0}}});
    }
  }
  SpectrogramParams params = spectrogram(64, 0, 1.0);
  params.frames.pad_mode = PadMode::kConstant;
  params.frames.tail = FrameTail::kCovers;
  params.frames.fractional_hop = 14.7;
  for (const emulator::Options& options : emulator::every_order()) expect_spectrogram(params, 700, {.device = options});
  expect_spectrogram(params, 700, {.device = emulator::Options::metal()});
}

// The derivative at silence is 0, and a frame with silence next to others disturbs nobody.
TEST(GenericGradient, SilenceHasNoGradient) {
  for (const double power : {0.5, 1.0, 2.0, 3.0}) {
    const SpectrogramParams params = spectrogram(32, 8, power);
    Array x(DType::kFloat32, {200});
    for (std::int64_t i = 0; i < 200; ++i) x.set(i, i < 120 ? 0.0 : i % 7 - 3.0);
    const Array grad = Array(DType::kFloat32, spectrogram_shape(x, params)).randomize(2), out(DType::kFloat32, {200});
    emulator::Runner runner;
    run_generic_inverse(testing::spectrogram_backward_job(x, grad, nullptr, params, out), runner);
    for (std::int64_t i = 0; i < 200; ++i) {
      EXPECT_TRUE(std::isfinite(out.get(i).real())) << i;
      if (i < 88) {
        EXPECT_EQ(out.get(i).real(), 0.0) << i;
      }
    }
  }
}

TEST(GenericGradient, HalfPrecisionTensors) {
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16}) {
    for (const std::int64_t n : {15, 64}) {
      SpectrogramParams params = spectrogram(n, n / 4, 2.0);
      expect_spectrogram(params, 300, {.dtype = dtype});
      params.frames.pad_mode = PadMode::kReplicate;
      expect_spectrogram(params, 300, {.dtype = dtype, .out = {{}, 3, 0, {1}}});
    }
  }
}

void expect_bands(const FilteredSpectrogramParams& params, const FilterBank& bank, DType weights, bool known,
                  const Case& c = {}) {
  constexpr std::int64_t kLength = 300;
  const SpectrogramParams& inner = params.spectrogram;
  const Array x = Array(c.dtype, {2, kLength}, c.x).randomize(1), window = hann(inner.frames.n_fft, c.dtype);
  const Array grad = Array(c.dtype, filtered_spectrogram_shape(x, bank, params), c.grad).randomize(2);
  const Array reference(DType::kFloat64, {2, kLength}), out(c.dtype, {2, kLength}, c.out);
  const Array matrix(weights, {bank.bins(), bank.bands()});
  bank.to_dense(matrix);
  filtered_spectrogram_backward_reference(testing::copy_of(x, DType::kFloat64), testing::copy_of(grad, DType::kFloat64),
                                          &window.tensor(), bank, params, reference);
  emulator::Runner runner(c.device);
  run_generic_inverse(testing::bands_backward_job(x, grad, &window.tensor(), bank, matrix, known, params, out), runner);
  const std::string what = describe(inner, c) + (params.log.enabled ? ", log" : "") + (known ? ", known" : "");
  out.expect_written_exactly(what);
  EXPECT_LE(testing::relative_rms_error(out, reference), allowed(c.dtype, inner.power)) << what;
}

TEST(GenericGradient, Bands) {
  for (const std::int64_t n : {64, 63, 97}) {
    const FilterBank mel = FilterBank::mel(n / 2 + 1, {.sample_rate = 16000.0, .n_mels = 12});
    Array dense = Array(DType::kFloat64, {n / 2 + 1, 5}).randomize(9);
    for (std::int64_t i = 0; i < dense.numel(); ++i) dense.set(i, std::abs(dense.get(i)));
    for (const FilterBank& bank : {mel, FilterBank(dense)}) {
      for (const bool log : {false, true}) {
        for (const double power : {2.0, 1.0}) {
          FilteredSpectrogramParams params;
          params.spectrogram = spectrogram(n, n / 4, power);
          params.log = {.enabled = log, .scale = 10.0, .mul = 2.0, .add = 0.25, .floor = 1.0, .post_mul = 0.5};
          for (const bool known : {false, true}) {
            expect_bands(params, bank, DType::kFloat32, known);
            params.spectrogram.layout = Layout::kFrameMajor;
            expect_bands(params, bank, DType::kFloat64, known, {.dtype = DType::kFloat64});
          }
        }
      }
    }
  }
}

// float64 arithmetic on float32 tensors.
TEST(GenericGradient, BandsInFloat64) {
  const FilterBank bank = FilterBank::logarithmic(32, {.sample_rate = 8000.0, .bands_per_octave = 6, .f_min = 100.0});
  FilteredSpectrogramParams params;
  params.spectrogram = spectrogram(64, 16, 1.0);
  params.spectrogram.nyquist = false;
  params.log = {.enabled = true, .add = 1.0};
  params.float64 = true;
  for (const emulator::Options& options : emulator::every_order()) {
    expect_bands(params, bank, DType::kFloat64, true, {.device = options});
  }
}

// The same bits whether the kernel knows where the bank is zero or not.
TEST(GenericGradient, KnownZerosDoNotChangeTheResult) {
  const FilterBank bank = FilterBank::mel(33, {.sample_rate = 16000.0, .n_mels = 8});
  FilteredSpectrogramParams params;
  params.spectrogram = spectrogram(64, 16, 2.0);
  params.log = {.enabled = true, .add = 1e-3};
  const Array x = Array(DType::kFloat32, {300}).randomize(1), matrix(DType::kFloat32, {33, 8});
  const Array grad = Array(DType::kFloat32, filtered_spectrogram_shape(x, bank, params)).randomize(2);
  const Array known(DType::kFloat32, {300}), unknown(DType::kFloat32, {300});
  bank.to_dense(matrix);
  emulator::Runner runner;
  run_generic_inverse(testing::bands_backward_job(x, grad, nullptr, bank, matrix, true, params, known), runner);
  run_generic_inverse(testing::bands_backward_job(x, grad, nullptr, bank, matrix, false, params, unknown), runner);
  EXPECT_TRUE(testing::same_bits(known, unknown));
}

}  // namespace
}  // namespace melisma::gpu
