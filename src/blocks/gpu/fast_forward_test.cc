#include "blocks/gpu/fast_forward.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "blocks/gpu/forward_job_fixtures.h"
#include "melisma/window.h"
#include "runtime/emulator/runner.h"

namespace melisma::gpu {
namespace {

using testing::Array;
using testing::Placement;

Array hann(std::int64_t length) {
  Array window(DType::kFloat32, {length});
  melisma::make_window("hann", true, 0.0, window);
  return window;
}

struct StftCase {
  StftParams params;
  std::int64_t length = 0;
  DType dtype = DType::kFloat32;
  Placement x_placement, out_placement;
  int forced = 0;
  emulator::Options options;
};

StftCase stft_case(std::int64_t n_fft, std::int64_t hop, Layout layout = Layout::kFrameMajor) {
  StftCase c;
  c.params.frames.n_fft = n_fft;
  c.params.frames.hop_length = hop;
  c.params.layout = layout;
  c.length = 3 * n_fft + 5 * hop + 2;
  return c;
}

std::string describe(const StftCase& c) {
  return "n_fft " + std::to_string(c.params.frames.n_fft) + ", hop " + std::to_string(c.params.frames.hop_length) +
         ", length " + std::to_string(c.length) + ", dtype " + dtype_name(c.dtype) + ", variant " +
         std::to_string(c.forced);
}

void expect_stft(const StftCase& c) {
  const FrameParams& frames = c.params.frames;
  const Array x = Array(c.dtype, {2, c.length}, c.x_placement).randomize(7);
  const Array window = hann(frames.win_length == 0 ? frames.n_fft : frames.win_length);
  const Shape shape = stft_shape(x, c.params);
  const Array reference(DType::kComplex128, shape), out(DType::kComplex64, shape, c.out_placement);
  stft_reference(x, &window.tensor(), c.params, reference);
  emulator::Runner runner(c.options);
  const ForwardJob job = testing::stft_job(x, &window.tensor(), c.params, out);
  ASSERT_EQ(fast_forward_refuses(job), "") << describe(c);
  run_fast_forward(job, runner, c.forced);
  out.expect_written_exactly(describe(c));
  EXPECT_LT(testing::relative_error(out, reference), testing::allowed_error(c.dtype)) << describe(c);
}

std::vector<std::int64_t> sizes() {
  std::vector<std::int64_t> result;
  for (std::int64_t n = 2; n <= 8192; n += 2) {
    ForwardJob job;
    job.framing.n_fft = n;
    if (!fast_forward_variants(job).empty()) result.push_back(n);
  }
  return result;
}

std::size_t variants_of(std::int64_t n) {
  ForwardJob job;
  job.framing.n_fft = n;
  return fast_forward_variants(job).size();
}

void expect_stft_of_every_variant(StftCase c) {
  for (std::size_t i = 0; i < variants_of(c.params.frames.n_fft); ++i) {
    c.forced = static_cast<int>(i);
    expect_stft(c);
  }
}

TEST(FastForward, EveryVariant) {
  for (const std::int64_t n : sizes()) {
    for (std::size_t i = 0; i < variants_of(n); ++i) {
      StftCase c = stft_case(n, n / 4);
      c.forced = static_cast<int>(i);
      expect_stft(c);
    }
  }
}

TEST(FastForward, EveryVariantBinsApart) {
  for (const std::int64_t n : sizes()) {
    for (std::size_t i = 0; i < variants_of(n); ++i) {
      StftCase c = stft_case(n, n / 4 + 1, Layout::kFrequencyMajor);
      c.forced = static_cast<int>(i);
      expect_stft(c);
    }
  }
}

TEST(FastForward, HopsAndAlignments) {
  for (const std::int64_t n : {128, 400, 512, 1000, 1024, 2048}) {
    for (const std::int64_t hop : {n / 5 + 1, n / 5 + 2, n + 3}) {
      for (const std::int64_t odd : {0, 1}) {
        StftCase c = stft_case(n, hop);
        c.length += odd;
        c.x_placement.gap = 1;
        c.out_placement.gap = odd;  // rows that do not follow each other, or do
        expect_stft_of_every_variant(c);
        c.params.nyquist = false;
        expect_stft_of_every_variant(c);
      }
    }
  }
}

TEST(FastForward, EveryPadding) {
  for (const PadMode mode : {PadMode::kConstant, PadMode::kReflect, PadMode::kReplicate, PadMode::kCircular}) {
    for (const std::int64_t length : {70, 200, 601}) {
      StftCase c = stft_case(128, 30);
      c.params.frames.pad_mode = mode;
      c.params.frames.pad = 3;
      c.length = length;
      expect_stft_of_every_variant(c);
    }
  }
}

TEST(FastForward, Framings) {
  StftCase c = stft_case(480, 7);
  c.params.frames.pad_mode = PadMode::kConstant;
  c.params.frames.tail = FrameTail::kCovers;
  c.length = 501;
  expect_stft_of_every_variant(c);
  for (const double hop : {7.3, 147.5}) {
    c.params.frames.fractional_hop = hop;
    c.length = 1301;
    expect_stft_of_every_variant(c);
  }
  StftCase apart = stft_case(400, 500);
  apart.params.frames.win_length = 121;
  apart.params.frames.center = false;
  apart.params.normalized = true;
  apart.params.frames.input_scale = 0.3;
  expect_stft_of_every_variant(apart);
}

TEST(FastForward, StridesAndDtypes) {
  for (const DType dtype : {DType::kInt16, DType::kFloat16, DType::kBFloat16, DType::kFloat32}) {
    for (const Layout layout : {Layout::kFrequencyMajor, Layout::kFrameMajor}) {
      for (const std::int64_t n : {256, 400}) {
        StftCase c = stft_case(n, n / 4, layout);
        c.dtype = dtype;
        c.params.frames.input_scale = dtype == DType::kInt16 ? 1.0 / 32768.0 : 1.0;
        expect_stft_of_every_variant(c);
        c.x_placement = {{1, 0}, 2, 5, {1}};
        c.out_placement = {{0, 2, 1}, 3, 1, {0, 2}};
        expect_stft_of_every_variant(c);
      }
    }
  }
}

// Frames that fill a warp's share in part, and results held together in parts.
TEST(FastForward, FewFrames) {
  for (const Layout layout : {Layout::kFrequencyMajor, Layout::kFrameMajor}) {
    for (const std::int64_t n : {128, 400, 1024, 2048}) {
      for (std::int64_t frames = 1; frames <= 17; frames += frames < 5 ? 1 : 4) {
        StftCase c = stft_case(n, n, layout);
        c.params.frames.center = false;
        c.length = n * frames;
        expect_stft_of_every_variant(c);
      }
    }
  }
}

TEST(FastForward, LittleSharedMemory) {
  StftCase c = stft_case(1024, 256, Layout::kFrequencyMajor);
  c.options.shared_limit = 64 << 10;
  expect_stft(c);
  const ForwardJob job = [&] {
    ForwardJob result;
    result.framing.n_fft = result.framing.length = 1024;
    result.bins = 513;
    return result;
  }();
  EXPECT_EQ(fast_forward_refuses(job, 32 << 10), "too little shared memory");
}

void expect_same_bits(std::int64_t n, Layout layout, int variant) {
  StftParams params;
  params.frames.n_fft = n;
  params.frames.hop_length = n / 4 + 2;
  params.layout = layout;
  const Array x = Array(DType::kFloat32, {5, 4 * n}).randomize(11);
  const Shape shape = stft_shape(x, params);
  const Array first(DType::kComplex64, shape);
  emulator::Runner plain;
  run_fast_forward(testing::stft_job(x, nullptr, params, first), plain, variant);
  for (const emulator::Options& options : emulator::every_order()) {
    emulator::Runner runner(options);
    const Array again(DType::kComplex64, shape);
    run_fast_forward(testing::stft_job(x, nullptr, params, again), runner, variant);
    EXPECT_TRUE(testing::same_bits(first, again)) << n << ", variant " << variant;
  }
  const Array alone(DType::kComplex64, Shape{shape[1], shape[2]});
  run_fast_forward(testing::stft_job(testing::item_view(x, 3), nullptr, params, alone), plain, variant);
  for (std::int64_t i = 0; i < alone.numel(); ++i) {
    ASSERT_EQ(alone.bytes_of(i), first.bytes_of(3 * alone.numel() + i)) << n << ", variant " << variant;
  }
}

// Bits may depend neither on the order of threads nor on items and frames beside.
TEST(FastForward, SameBitsInEveryOrderAndBatch) {
  for (const std::int64_t n : {400, 512, 1000, 1024, 2048}) {
    for (const Layout layout : {Layout::kFrequencyMajor, Layout::kFrameMajor}) {
      for (std::size_t i = 0; i < variants_of(n); ++i) expect_same_bits(n, layout, static_cast<int>(i));
    }
  }
}

// --- powers and bands
// ----------------------------------------------------------------------------------------------------

SpectrogramParams power_params(std::int64_t n_fft, std::int64_t hop, double power, Layout layout) {
  SpectrogramParams params;
  params.frames.n_fft = n_fft;
  params.frames.hop_length = hop;
  params.power = power;
  params.layout = layout;
  return params;
}

TEST(FastForward, Powers) {
  for (const std::int64_t n : {256, 400, 1000, 2048}) {
    for (const double power : {1.0, 2.0, 0.5}) {
      for (const Layout layout : {Layout::kFrequencyMajor, Layout::kFrameMajor}) {
        SpectrogramParams params = power_params(n, n / 4 + 1, power, layout);
        params.norm = power == 1.0 ? SpectrumNorm::kWindow : SpectrumNorm::kFrameLength;
        params.nyquist = power != 0.5;
        const Array x = Array(DType::kFloat32, {2, 5 * n + 3}).randomize(13);
        const Array window = hann(n);
        const Shape shape = spectrogram_shape(x, params);
        const Array reference(DType::kFloat64, shape);
        spectrogram_reference(x, &window.tensor(), params, reference);
        for (std::size_t i = 0; i < variants_of(n); ++i) {
          const Array out(DType::kFloat32, shape);
          emulator::Runner runner;
          const ForwardJob job = testing::spectrogram_job(x, &window.tensor(), params, out);
          ASSERT_EQ(fast_forward_refuses(job), "");
          run_fast_forward(job, runner, static_cast<int>(i));
          const std::string what =
              "n_fft " + std::to_string(n) + ", power " + std::to_string(power) + ", variant " + std::to_string(i);
          out.expect_written_exactly(what);
          EXPECT_LT(testing::relative_error(out, reference), 2e-5) << what;
        }
      }
    }
  }
}

void expect_bands(const FilterBank& bank, const FilteredSpectrogramParams& params, const std::string& what,
                  const emulator::Options& options = {}, DType dtype = DType::kFloat32, bool known = true) {
  const Array x = Array(DType::kFloat32, {3, 2, 4 * params.spectrogram.frames.n_fft + 5}).randomize(19);
  const Array matrix(DType::kFloat32, {bank.bins(), bank.bands()});
  bank.to_dense(matrix);
  const Shape result = filtered_spectrogram_shape(x, bank, params);
  const Array reference(DType::kFloat64, result);
  filtered_spectrogram_reference(x, nullptr, bank, params, reference);
  for (int forced = 0;; ++forced) {
    const Array out(dtype, result);
    emulator::Runner runner(options);
    ForwardJob job = testing::bands_job(x, nullptr, bank, matrix, params, out);
    if (!known) job.power.bank.host = nullptr;
    ASSERT_EQ(fast_forward_refuses(job), "") << what;
    run_fast_forward(job, runner, forced);
    out.expect_written_exactly(what);
    const double allowed = dtype == DType::kFloat32 ? 2e-5 : dtype == DType::kFloat16 ? 2e-2 : 2e-1;
    EXPECT_LT(testing::relative_error(out, reference), allowed) << what << ", variant " << forced;
    if (forced + 1 == static_cast<int>(fast_forward_variants(job).size())) break;
  }
}

TEST(FastForward, MelBands) {
  for (const std::int64_t n : {256, 400, 1024, 2048}) {
    for (const std::int64_t bands : {1, 7, 40, 80, 128}) {  // some without a bin
      for (const Layout layout : {Layout::kFrequencyMajor, Layout::kFrameMajor}) {
        FilteredSpectrogramParams params;
        params.spectrogram = power_params(n, n / 4, 2.0, layout);
        MelParams mel;
        mel.sample_rate = 16000;
        mel.n_mels = bands;
        mel.f_min = 20;
        const std::string what = "n_fft " + std::to_string(n) + ", bands " + std::to_string(bands);
        expect_bands(FilterBank::mel(n / 2 + 1, mel), params, what);
        if (bands != 40) continue;
        expect_bands(FilterBank::mel(n / 2 + 1, mel), params, what + ", not known", {}, DType::kFloat32, false);
      }
    }
  }
}

TEST(FastForward, OtherBanks) {
  LogBandParams log_bands;
  log_bands.sample_rate = 44100;
  FilteredSpectrogramParams params;
  params.spectrogram = power_params(2048, 441, 1.0, Layout::kFrameMajor);
  params.spectrogram.nyquist = false;
  params.log = {true, 0.43, 1.0, 1.0, 0.0, 0.0};
  expect_bands(FilterBank::logarithmic(1024, log_bands), params, "logarithmic");

  for (const int kind : {0, 1, 2}) {  // wide bands, bands in falling order, dense
    Array matrix = Array(DType::kFloat32, {201, 30}).randomize(17);
    for (std::int64_t i = 0; i < matrix.numel(); ++i) {
      const std::int64_t bin = i / 30, band = i % 30;
      const bool inside = kind == 0   ? bin >= band && bin <= 3 * band && bin != band + 2
                          : kind == 1 ? bin / 7 == 29 - band
                                      : true;
      matrix.set(i, inside ? std::abs(matrix.get(i)) : 0.0);
    }
    params.spectrogram = power_params(400, 160, 2.0, Layout::kFrameMajor);
    params.log = {true, 4.34, 1.0, 0.01, 1e-3, 0.5, std::numeric_limits<double>::infinity(), TopScope::kItem,
                  0.25, 1.5};
    for (const emulator::Options& options : emulator::every_order()) {
      for (const bool known : {true, false}) {
        expect_bands(FilterBank(matrix.tensor()), params, "bank " + std::to_string(kind), options, DType::kFloat32,
                     known);
      }
    }
  }
}

// What the range limit raises depends on the largest value of an item, or of items packed together.
TEST(FastForward, LimitedRange) {
  for (const Layout layout : {Layout::kFrequencyMajor, Layout::kFrameMajor}) {
    for (const TopScope scope : {TopScope::kItem, TopScope::kPacked}) {
      for (const DType dtype : {DType::kFloat32, DType::kFloat16}) {
        FilteredSpectrogramParams params;
        params.spectrogram = power_params(400, 160, 2.0, layout);
        params.log = {true, 0.43, 1.0, 0.0, 1e-10, 0.0, 1.0, scope, 0.25, 1.0};
        expect_bands(FilterBank::mel(201, {.sample_rate = 16000, .n_mels = 40}), params, "limited", {}, dtype);
      }
    }
  }
}

TEST(FastForward, HalfResults) {
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16}) {
    for (const Layout layout : {Layout::kFrequencyMajor, Layout::kFrameMajor}) {
      FilteredSpectrogramParams params;
      params.spectrogram = power_params(512, 128, 1.0, layout);
      expect_bands(FilterBank::mel(257, {.sample_rate = 16000, .n_mels = 23}), params, "half", {}, dtype);
    }
  }
}

// --- the gradient of the inverse
// -----------------------------------------------------------------------------------------

TEST(FastForward, GradientOfTheInverse) {
  for (const std::int64_t n : {256, 400, 512, 2048}) {
    for (const std::int64_t frames : {1, 2, 30}) {
      for (const std::int64_t length : {std::int64_t{-1}, n + 5, n / 4 * frames + n + 9}) {
        IstftParams params;
        params.n_fft = n;
        params.hop_length = n / 4;
        params.center = false;
        params.length = length;
        params.edge = EdgePolicy::kZero;
        params.layout = Layout::kFrameMajor;
        const Shape shape = {2, frames, n / 2 + 1};
        const Array spectrum(DType::kComplex64, shape), reference(DType::kComplex128, shape);
        const Array grad = Array(DType::kFloat32, {2, istft_shape(spectrum, params)[-1]}).randomize(23);
        const Array window = hann(n);
        istft_adjoint_reference(grad, &window.tensor(), params, reference);
        for (std::size_t i = 0; i < variants_of(n); ++i) {
          const Array out(DType::kComplex64, shape);
          emulator::Runner runner;
          const ForwardJob job = testing::istft_adjoint_job(grad, &window.tensor(), params, out);
          ASSERT_EQ(fast_forward_refuses(job), "");
          run_fast_forward(job, runner, static_cast<int>(i));
          const std::string what =
              "n_fft " + std::to_string(n) + ", " + std::to_string(frames) + " frames, variant " + std::to_string(i);
          out.expect_written_exactly(what);
          EXPECT_LT(testing::relative_error(out, reference), 2e-5) << what;
        }
      }
    }
  }
}

}  // namespace
}  // namespace melisma::gpu
