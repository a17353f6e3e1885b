#include "blocks/gpu/fast_gradient.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "blocks/gpu/generic_inverse.h"
#include "blocks/gpu/inverse_job_fixtures.h"
#include "melisma/filtered_spectrogram.h"
#include "melisma/window.h"
#include "runtime/emulator/runner.h"

namespace melisma::gpu {
namespace {

using testing::Array;
using testing::Placement;

std::vector<std::int64_t> sizes() {
  std::vector<std::int64_t> result;
  for (std::int64_t n = 2; n <= 4096; n += 2) {
    InverseJob job;
    job.framing.n_fft = n;
    if (!fast_gradient_variants(job).empty()) result.push_back(n);
  }
  return result;
}

struct Case {
  DType dtype = DType::kFloat32;
  Placement x = {}, grad = {}, out = {};
  emulator::Options device = {};
  int variant = 0;
  std::int64_t items = 2;
  bool silent = false;  // the first half of the signal
};

struct Bands {
  const FilterBank* bank = nullptr;
  LogParams log = {};
  bool known = true;
};

// As the generic kernels' test: a bin whose magnitude is small beside its frame's has a direction of few digits, and
// for powers below 2 a gradient that is not small.
double allowed(double power) { return power < 2 ? 3e-5 : 1e-6; }

Array raised_hann(std::int64_t length) {
  Array window(DType::kFloat32, {length});
  melisma::make_window("hann", true, 0.0, window);
  for (std::int64_t i = 0; i < length; ++i) window.set(i, window.get(i) + 0.1);
  return window;
}

SpectrogramParams spectrogram(std::int64_t n_fft, std::int64_t hop, double power = 2.0) {
  SpectrogramParams params;
  params.frames = {.n_fft = n_fft, .hop_length = hop};
  params.power = power;
  return params;
}

std::string describe(const SpectrogramParams& params, std::int64_t length, const Case& c) {
  const FrameParams& frames = params.frames;
  return "n_fft " + std::to_string(frames.n_fft) + ", hop " + std::to_string(frames.hop_length) + ", power " +
         std::to_string(params.power) + ", length " + std::to_string(length) + ", pad " + std::to_string(frames.pad) +
         ", mode " + std::to_string(static_cast<int>(frames.pad_mode)) + ", " + dtype_name(c.dtype) + ", variant " +
         std::to_string(c.variant) + ", resident " + std::to_string(c.device.resident_blocks);
}

// The gradient, checked against the reference.
Array gradient_of(const SpectrogramParams& params, std::int64_t length, const Case& c = {}, const Bands& bands = {}) {
  FilteredSpectrogramParams filtered;
  filtered.spectrogram = params;
  filtered.log = bands.log;
  Array x = Array(c.dtype, {c.items, length}, c.x).randomize(1);
  for (std::int64_t i = 0; c.silent && i < c.items * length; ++i) {
    if (i % length < length / 2) x.set(i, 0.0);
  }
  const Shape shape =
      bands.bank != nullptr ? filtered_spectrogram_shape(x, *bands.bank, filtered) : spectrogram_shape(x, params);
  const Array grad = Array(c.dtype, shape, c.grad).randomize(2);
  const FrameParams& frames = params.frames;
  const Array window = raised_hann(frames.win_length == 0 ? frames.n_fft : frames.win_length);
  const Array reference(DType::kFloat64, {c.items, length});
  const Array wide_x = testing::copy_of(x, DType::kFloat64), wide_grad = testing::copy_of(grad, DType::kFloat64);
  Array out(c.dtype, {c.items, length}, c.out);
  InverseJob job;
  Array matrix(DType::kFloat32, {1, 1});
  if (bands.bank != nullptr) {
    matrix = Array(DType::kFloat32, {bands.bank->bins(), bands.bank->bands()});
    bands.bank->to_dense(matrix);
    filtered_spectrogram_backward_reference(wide_x, wide_grad, &window.tensor(), *bands.bank, filtered, reference);
    job = testing::bands_backward_job(x, grad, &window.tensor(), *bands.bank, matrix, bands.known, filtered, out);
  } else {
    spectrogram_backward_reference(wide_x, wide_grad, &window.tensor(), params, reference);
    job = testing::spectrogram_backward_job(x, grad, &window.tensor(), params, out);
  }
  const std::string what = describe(params, length, c);
  EXPECT_EQ(fast_gradient_refuses(job), "") << what;
  if (!fast_gradient_refuses(job).empty()) return out;
  emulator::Runner runner(c.device);
  run_fast_gradient(job, runner, c.variant);
  out.expect_written_exactly(what);
  double most = allowed(params.power);
  if (is_half(c.dtype)) {  // that of the rounding at the end
    most = 1.01 * testing::relative_rms_error(testing::copy_of(reference, c.dtype), reference);
  }
  EXPECT_LE(testing::relative_rms_error(out, reference), most) << what;
  return out;
}

void expect_same(const Array& a, const Array& b, const std::string& what) {
  ASSERT_EQ(a.numel(), b.numel());
  std::int64_t different = 0;
  for (std::int64_t i = 0; i < a.numel(); ++i) different += a.bytes_of(i) != b.bytes_of(i) ? 1 : 0;
  EXPECT_EQ(different, 0) << what;
}

const LogParams kLog{.enabled = true, .scale = 10.0, .mul = 2.0, .add = 0.25, .floor = 1.0, .post_mul = 0.5};

TEST(FastGradient, EveryVariant) {
  for (const std::int64_t n : sizes()) {
    InverseJob job;
    job.framing.n_fft = n;
    const FilterBank mel =
        FilterBank::mel(n / 2 + 1, {.sample_rate = 16000.0, .n_mels = std::min<std::int64_t>(n / 16, 128)});
    const int variants = static_cast<int>(fast_gradient_variants(job).size());
    for (int variant = 0; variant < variants; ++variant) {
      for (const double power : {2.0, 1.0}) {
        gradient_of(spectrogram(n, n / 4, power), 9 * n + 1, {.variant = variant});
        gradient_of(spectrogram(n, n / 3, power), 9 * n + 2, {.variant = variant}, {&mel, {}});
        gradient_of(spectrogram(n, n / 2 - 3, power), 9 * n, {.variant = variant}, {&mel, kLog});
      }
    }
  }
}

TEST(FastGradient, Powers) {
  const FilterBank mel = FilterBank::mel(201, {.sample_rate = 16000.0, .n_mels = 40});
  for (const double power : {0.5, 1.0, 1.7, 2.0, 3.0}) {
    gradient_of(spectrogram(400, 160, power), 3000);
    gradient_of(spectrogram(400, 160, power), 3000, {.items = 1, .silent = true});
    gradient_of(spectrogram(400, 160, power), 3000, {}, {&mel, {}});
    gradient_of(spectrogram(400, 160, power), 3000, {}, {&mel, kLog});
  }
}

TEST(FastGradient, HopsAndLengths) {
  for (const std::int64_t hop : {1, 7, 40, 57, 100, 133, 160, 200, 399, 400, 403, 900}) {
    for (const std::int64_t length : {1, 201, 400, 1111, 4000}) {
      SpectrogramParams params = spectrogram(400, hop);
      params.frames.pad_mode = PadMode::kConstant;
      gradient_of(params, length);
      params.frames.win_length = 333;
      params.frames.center = false;
      if (length >= 400) gradient_of(params, length);
    }
  }
}

TEST(FastGradient, EveryPadding) {
  for (const PadMode mode : {PadMode::kConstant, PadMode::kReflect, PadMode::kReplicate, PadMode::kCircular}) {
    for (const std::int64_t pad : {0, 101}) {
      for (const std::int64_t length : {201, 3601}) {
        SpectrogramParams params = spectrogram(400, 134);
        params.frames.win_length = 300;
        params.frames.pad_mode = mode;
        params.frames.pad = pad;
        params.nyquist = length == 201;
        gradient_of(params, length);
      }
    }
  }
}

TEST(FastGradient, Banks) {
  Array dense = Array(DType::kFloat64, {201, 5}).randomize(9);
  for (std::int64_t i = 0; i < dense.numel(); ++i) dense.set(i, std::abs(dense.get(i).real()));
  const FilterBank logarithmic =
      FilterBank::logarithmic(200, {.sample_rate = 8000.0, .bands_per_octave = 6, .f_min = 100.0});
  for (const FilterBank& bank : {FilterBank(dense), logarithmic}) {
    for (const LogParams& log : {LogParams{}, kLog}) {
      SpectrogramParams params = spectrogram(400, 100, 1.0);
      params.nyquist = bank.bins() == 201;
      gradient_of(params, 2000, {}, {&bank, log});
      gradient_of(params, 2000, {}, {&bank, log, false});
      params.layout = Layout::kFrameMajor;
      gradient_of(params, 2000, {}, {&bank, log});
    }
  }
}

TEST(FastGradient, NormsLayoutsStridesAndDtypes) {
  const FilterBank mel = FilterBank::mel(201, {.sample_rate = 16000.0, .n_mels = 23});
  for (const SpectrumNorm norm : {SpectrumNorm::kNone, SpectrumNorm::kFrameLength, SpectrumNorm::kWindow}) {
    for (const Layout layout : {Layout::kFrameMajor, Layout::kFrequencyMajor}) {
      SpectrogramParams params = spectrogram(400, 160);
      params.norm = norm;
      params.layout = layout;
      params.frames.input_scale = 0.25;
      for (const Bands& bands : {Bands{}, Bands{&mel, kLog}}) {
        gradient_of(params, 3000, {}, bands);
        gradient_of(params, 3000, {.x = {{}, 2, 1, {1}}, .grad = {{0, 2, 1}, 1, 2, {}}, .out = {{1, 0}, 1, 0, {0}}},
                    bands);
        gradient_of(params, 3000, {.x = {{1, 0}, 1, 0, {}}, .grad = {{}, 3, 5, {2}}, .out = {{}, 2, 1, {1}}}, bands);
        gradient_of(params, 3000, {.dtype = DType::kFloat16}, bands);
        gradient_of(params, 3000, {.dtype = DType::kBFloat16}, bands);
      }
    }
  }
}

// The same bits whatever stretches the blocks take, in whichever order threads run, and whichever batch an item is in.
TEST(FastGradient, SameBits) {
  const FilterBank mel = FilterBank::mel(201, {.sample_rate = 16000.0, .n_mels = 40});
  for (const std::int64_t hop : {40, 100, 160, 400}) {
    const SpectrogramParams params = spectrogram(400, hop, 1.0);
    const Bands bands{&mel, kLog};
    Case c;
    c.device.resident_blocks = 1;
    const Array first = gradient_of(params, 9000, c, bands);
    for (const std::int64_t resident : {2, 3, 30, 1000}) {
      c.device.resident_blocks = resident;
      expect_same(first, gradient_of(params, 9000, c, bands), describe(params, 9000, c));
    }
    for (const emulator::Options& options : emulator::every_order()) {
      c.device = options;
      expect_same(first, gradient_of(params, 9000, c, bands), describe(params, 9000, c));
    }
    const Array alone = gradient_of(params, 9000, {.items = 1}, bands);
    for (std::int64_t i = 0; i < alone.numel(); ++i) ASSERT_EQ(alone.bytes_of(i), first.bytes_of(i)) << i;
  }
}

// Without float64, and within 32 KiB of shared memory.
TEST(FastGradient, UnderMetalsLimits) {
  const FilterBank mel = FilterBank::mel(129, {.sample_rate = 16000.0, .n_mels = 20});
  const Case metal{.device = emulator::Options::metal()};
  gradient_of(spectrogram(256, 64, 1.0), 3000, metal);
  gradient_of(spectrogram(256, 100), 3000, metal, {&mel, kLog});
}

TEST(FastGradient, Refuses) {
  const Array x(DType::kFloat32, {3000}), out(DType::kFloat32, {3000}), weights(DType::kFloat32, {201, 40});
  const FilterBank mel = FilterBank::mel(201, {.sample_rate = 16000.0, .n_mels = 40});
  FilteredSpectrogramParams params;
  params.spectrogram = spectrogram(400, 160);
  const Array grad(DType::kFloat32, filtered_spectrogram_shape(x, mel, params));
  const InverseJob job = testing::bands_backward_job(x, grad, nullptr, mel, weights, true, params, out);
  EXPECT_EQ(fast_gradient_refuses(job), "");
  InverseJob other = job;
  other.power.bank.bands = 5000;
  EXPECT_EQ(fast_gradient_refuses(other), "5000 bands");
  other = job;
  other.framing.n_fft = 402;
  EXPECT_EQ(fast_gradient_refuses(other), "no plan for n_fft = 402");
  other = job;
  other.framing.fractional_hop = 44.1;
  EXPECT_EQ(fast_gradient_refuses(other), "fractional hop");
  other = job;
  other.x.dtype = DType::kFloat64;
  EXPECT_EQ(fast_gradient_refuses(other), "tensor of float64");
  EXPECT_NE(fast_gradient_refuses(job, 10000), "");
}

}  // namespace
}  // namespace melisma::gpu
