#include "blocks/gpu/generic_forward.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "blocks/gpu/forward_job_fixtures.h"
#include "melisma/window.h"
#include "runtime/emulator/runner.h"

namespace melisma::gpu {
namespace {

using testing::Array;
using testing::Placement;

struct StftCase {
  StftParams params;
  std::int64_t length = 0;  // 0: three and a half frames
  DType dtype = DType::kFloat32;
  bool windowed = true;
  Placement x_placement, out_placement;
};

std::string describe(const StftCase& c) {
  return "n_fft " + std::to_string(c.params.frames.n_fft) + ", hop " + std::to_string(c.params.frames.hop_length) +
         ", length " + std::to_string(c.length) + ", dtype " + std::string(dtype_name(c.dtype));
}

Array hann(std::int64_t length, DType dtype) {
  Array window(dtype, {length});
  melisma::make_window("hann", true, 0.0, window);
  for (std::int64_t i = 0; i < length; ++i) window.set(i, window.get(i) + 0.1);  // so that a size of 1 is not zero
  return window;
}

void expect_stft(StftCase c, emulator::Runner runner = emulator::Runner()) {
  FrameParams& frames = c.params.frames;
  if (c.length == 0) c.length = 3 * frames.n_fft + frames.n_fft / 2 + 1;
  const Array x = Array(c.dtype, {2, c.length}, c.x_placement).randomize(7);
  const std::int64_t win = frames.win_length == 0 ? frames.n_fft : frames.win_length;
  const Array window = hann(win, testing::real_of(c.dtype));
  const Tensor* given = c.windowed ? &window.tensor() : nullptr;
  const Shape shape = stft_shape(x, c.params);
  const Array reference(DType::kComplex128, shape), out(testing::complex_of(c.dtype), shape, c.out_placement);
  stft_reference(x, given, c.params, reference);
  run_generic_forward(testing::stft_job(x, given, c.params, out), runner);
  out.expect_written_exactly(describe(c));
  EXPECT_LT(testing::relative_error(out, reference), testing::allowed_error(c.dtype)) << describe(c);
}

StftCase stft_case(std::int64_t n_fft, std::int64_t hop) {
  StftCase c;
  c.params.frames.n_fft = n_fft;
  c.params.frames.hop_length = hop;
  c.params.frames.pad_mode = PadMode::kConstant;
  return c;
}

constexpr std::int64_t kSizes[] = {1,  2,  3,  4,  5,  6,  7,  8,   9,   10,  11,  12,  13,   14,   15,   16,
                                   17, 18, 19, 20, 30, 64, 97, 100, 128, 400, 441, 480, 1000, 1024, 1103, 2048};

TEST(GenericForward, EverySize) {
  for (const std::int64_t n : kSizes) {
    for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
      StftCase c = stft_case(n, n / 3 + 1);
      c.dtype = dtype;
      expect_stft(c);
    }
  }
}

TEST(GenericForward, ComplexInputAndBothSides) {
  for (const std::int64_t n : {1, 2, 7, 12, 17, 100}) {
    StftCase c = stft_case(n, n / 2 + 1);
    c.params.onesided = false;
    for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kComplex64, DType::kComplex128}) {
      c.dtype = dtype;
      expect_stft(c);
    }
  }
}

TEST(GenericForward, EveryPadding) {
  for (const PadMode mode : {PadMode::kConstant, PadMode::kReflect, PadMode::kReplicate, PadMode::kCircular}) {
    for (const std::int64_t pad : {0, 3}) {
      for (const std::int64_t length : {17, 41}) {
        StftCase c = stft_case(32, 5);
        c.params.frames.pad_mode = mode;
        c.params.frames.pad = pad;
        c.length = length;
        expect_stft(c);
      }
    }
  }
}

TEST(GenericForward, Framings) {
  StftCase covers = stft_case(20, 7);
  covers.params.frames.tail = FrameTail::kCovers;
  covers.length = 50;
  expect_stft(covers);
  for (const double hop : {1.0, 7.3, 441.0 / 100.0, 44100.0 / 100.0 / 3.0}) {
    covers.params.frames.fractional_hop = hop;
    covers.length = 301;
    expect_stft(covers);
  }
  StftCase aligned = stft_case(33, 40);  // hop > n_fft
  aligned.params.frames.win_length = 12;
  aligned.params.frames.center = false;
  aligned.length = 211;
  expect_stft(aligned);
  StftCase odd = stft_case(24, 100);
  odd.params.frames.win_length = 17;
  odd.params.frames.input_scale = 0.3;
  odd.params.normalized = true;
  odd.length = 777;
  odd.windowed = false;
  expect_stft(odd);
  odd.params.nyquist = false;
  odd.params.layout = Layout::kFrameMajor;
  expect_stft(odd);
}

// As if the signal had the window's surroundings in zeros at both ends.
TEST(GenericForward, AlignedToTheWindow) {
  StftParams params;
  params.frames.n_fft = 33;
  params.frames.hop_length = 10;
  params.frames.win_length = 12;
  params.frames.center = false;
  constexpr std::int64_t kLength = 211, kBefore = 10, kAround = 21;
  const Array x = Array(DType::kFloat32, {kLength}).randomize(5);
  Array padded(DType::kFloat32, {kLength + kAround});
  for (std::int64_t i = 0; i < padded.numel(); ++i) {
    padded.set(i, i >= kBefore && i < kBefore + kLength ? x.get(i - kBefore) : 0.0);
  }
  const Array reference(DType::kComplex128, stft_shape(padded, params));
  stft_reference(padded, nullptr, params, reference);
  params.frames.align_to_window = true;
  const Array out(DType::kComplex64, stft_shape(x, params));
  emulator::Runner runner;
  run_generic_forward(testing::stft_job(x, nullptr, params, out), runner);
  EXPECT_LT(testing::relative_error(out, reference), testing::allowed_error(DType::kFloat32));
}

TEST(GenericForward, StridesAndDtypes) {
  for (const DType dtype : {DType::kInt16, DType::kFloat16, DType::kBFloat16, DType::kFloat32}) {
    for (const Layout layout : {Layout::kFrequencyMajor, Layout::kFrameMajor}) {
      StftCase c = stft_case(30, 11);
      c.dtype = dtype;
      c.params.layout = layout;
      c.length = 400;
      c.params.frames.input_scale = dtype == DType::kInt16 ? 1.0 / 32768.0 : 1.0;
      expect_stft(c);
      c.x_placement = {{1, 0}, 2, 5, {1}};
      c.out_placement = {{0, 2, 1}, 3, 1, {0, 2}};
      expect_stft(c);
    }
  }
}

TEST(GenericForward, ItemsOfSeveralAxesAndStrideZero) {
  StftCase c = stft_case(16, 8);
  Array x = Array(DType::kFloat32, {3, 2, 60}, {{1, 0, 2}, 1, 4, {}}).randomize(3);
  Tensor view = x;
  view.strides[1] = 0;
  const Shape shape = stft_shape(view, c.params);
  const Array reference(DType::kComplex128, shape), out(DType::kComplex64, shape, {{2, 0, 1, 3}, 1, 0, {1}});
  stft_reference(view, nullptr, c.params, reference);
  emulator::Runner runner;
  run_generic_forward(testing::stft_job(view, nullptr, c.params, out), runner);
  out.expect_written_exactly("several axes");
  EXPECT_LT(testing::relative_error(out, reference), testing::allowed_error(DType::kFloat32));
}

// Bits may depend neither on the order of threads nor on items and frames beside.
TEST(GenericForward, SameBitsInEveryOrderAndBatch) {
  for (const std::int64_t n : {30, 34, 64}) {
    StftParams params;
    params.frames.n_fft = n;
    params.frames.hop_length = 9;
    const Array x = Array(DType::kFloat32, {5, 500}).randomize(11);
    const Shape shape = stft_shape(x, params);
    const Array first(DType::kComplex64, shape);
    emulator::Runner plain;
    run_generic_forward(testing::stft_job(x, nullptr, params, first), plain);
    for (const emulator::Options& options : emulator::every_order()) {
      emulator::Runner runner(options);
      const Array again(DType::kComplex64, shape);
      run_generic_forward(testing::stft_job(x, nullptr, params, again), runner);
      EXPECT_TRUE(testing::same_bits(first, again)) << n;
    }
    const Array alone(DType::kComplex64, Shape{shape[1], shape[2]});
    run_generic_forward(testing::stft_job(testing::item_view(x, 3), nullptr, params, alone), plain);
    for (std::int64_t i = 0; i < alone.numel(); ++i) {
      ASSERT_EQ(alone.bytes_of(i), first.bytes_of(3 * alone.numel() + i));
    }
  }
}

TEST(GenericForward, WithoutFloat64) {
  for (const std::int64_t n : {17, 97, 400, 997}) {
    expect_stft(stft_case(n, n / 2 + 1), emulator::Runner(emulator::Options::metal()));
  }
}

TEST(GenericForward, SizesBeyondSharedMemory) {
  emulator::Options small;
  small.shared_limit = 6 << 10;
  for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
    for (const std::int64_t n : {500, 1024, 770, 211, 422}) {
      StftCase c = stft_case(n, n / 2 + 1);
      c.dtype = dtype;
      c.length = 2 * n;
      expect_stft(c, emulator::Runner(small));
    }
  }
  small.shared_limit = 2 << 10;  // three passes and more
  expect_stft(stft_case(8192, 20000), emulator::Runner(small));
  StftCase real_limit = stft_case(32768, 32768);
  real_limit.length = 20000;
  expect_stft(real_limit);
}

// --- powers and bands -----------------------------------------------------------------------------------------------

SpectrogramParams power_params(std::int64_t n_fft, std::int64_t hop, double power) {
  SpectrogramParams params;
  params.frames.n_fft = n_fft;
  params.frames.hop_length = hop;
  params.frames.pad_mode = PadMode::kReflect;
  params.power = power;
  return params;
}

void expect_spectrogram(const SpectrogramParams& params, DType dtype, DType result, const Placement& placement,
                        double allowed, const emulator::Options& options = {}) {
  const Array x = Array(dtype, {2, 5 * params.frames.n_fft + 3}).randomize(13);
  const Array window = hann(params.frames.n_fft, testing::real_of(dtype));
  const Shape shape = spectrogram_shape(x, params);
  const Array reference(DType::kFloat64, shape), out(result, shape, placement);
  spectrogram_reference(x, &window.tensor(), params, reference);
  emulator::Runner runner(options);
  run_generic_forward(testing::spectrogram_job(x, &window.tensor(), params, out), runner);
  const std::string what = "n_fft " + std::to_string(params.frames.n_fft) + ", power " + std::to_string(params.power) +
                           ", " + dtype_name(dtype) + " to " + dtype_name(result);
  out.expect_written_exactly(what);
  EXPECT_LT(testing::relative_error(out, reference), allowed) << what;
}

TEST(GenericForward, Powers) {
  for (const std::int64_t n : {1, 2, 15, 17, 64, 100}) {
    for (const double power : {1.0, 2.0, 0.5, 3.0}) {
      SpectrogramParams params = power_params(n, n / 4 + 1, power);
      params.norm = power == 1.0   ? SpectrumNorm::kWindow
                    : power == 2.0 ? SpectrumNorm::kFrameLength
                                   : SpectrumNorm::kNone;
      expect_spectrogram(params, DType::kFloat32, DType::kFloat32, {}, 2e-5);
      params.layout = Layout::kFrameMajor;
      expect_spectrogram(params, DType::kFloat64, DType::kFloat64, {{0, 2, 1}, 1, 2, {1}}, 1e-12);
    }
  }
  expect_spectrogram(power_params(40, 10, 1.0), DType::kInt16, DType::kFloat32, {}, 1e-5);
  expect_spectrogram(power_params(40, 10, 1.0), DType::kFloat16, DType::kFloat16, {}, 4e-3);
  expect_spectrogram(power_params(40, 10, 1.0), DType::kBFloat16, DType::kBFloat16, {}, 3e-2);
}

TEST(GenericForward, SilenceHasAPowerOfZero) {
  Array x(DType::kFloat32, {100});
  for (std::int64_t i = 0; i < 100; ++i) x.set(i, 0.0);
  for (const double power : {1.0, 2.0, 0.3}) {
    const SpectrogramParams params = power_params(17, 5, power);
    const Array out(DType::kFloat32, spectrogram_shape(x, params));
    emulator::Runner runner;
    run_generic_forward(testing::spectrogram_job(x, nullptr, params, out), runner);
    for (std::int64_t i = 0; i < out.numel(); ++i) ASSERT_EQ(out.get(i), 0.0) << power;
  }
}

struct BandsCase {
  FilteredSpectrogramParams params;
  std::int64_t bands = 9;
  DType dtype = DType::kFloat32;
  DType bank_dtype = DType::kFloat32;
  bool bank_known = true;
  Placement placement;
  Shape leading = {3};
};

void expect_bands(const BandsCase& c, const std::string& what, const emulator::Options& options = {}) {
  const SpectrogramParams& spectrogram = c.params.spectrogram;
  const std::int64_t bins = spectrogram.frames.n_fft / 2 + 1;
  Array matrix = Array(c.bank_dtype, {bins, c.bands}, {{1, 0}, 1, 3, {}}).randomize(17);
  for (std::int64_t i = 0; i < matrix.numel(); ++i) {  // bands of several widths, with zeros inside and empty ones
    const std::int64_t bin = i / c.bands, band = i % c.bands;
    const bool inside = bin >= band && bin <= 3 * band && bin != band + 2;
    matrix.set(i, inside ? std::abs(matrix.get(i)) : 0.0);
  }
  const FilterBank bank(matrix.tensor());
  Shape shape = c.leading;
  shape.dims[static_cast<std::size_t>(shape.ndim++)] = 9 * spectrogram.frames.n_fft + 5;
  const Array x = Array(c.dtype, shape).randomize(19);
  const Shape result = filtered_spectrogram_shape(x, bank, c.params);
  const Array reference(DType::kFloat64, result), out(testing::real_of(c.dtype), result, c.placement);
  filtered_spectrogram_reference(x, nullptr, bank, c.params, reference);
  ForwardJob job = testing::bands_job(x, nullptr, bank, matrix, c.params, out);
  if (!c.bank_known) job.power.bank.host = nullptr;
  emulator::Runner runner(options);
  run_generic_forward(job, runner);
  out.expect_written_exactly(what);
  EXPECT_LT(testing::relative_error(out, reference), 10 * testing::allowed_error(c.dtype)) << what;
}

TEST(GenericForward, Bands) {
  for (const std::int64_t n : {1, 2, 16, 17, 30, 100}) {
    for (const bool known : {true, false}) {
      BandsCase c;
      c.params.spectrogram = power_params(n, n / 2 + 1, 2.0);
      c.bank_known = known;
      const std::string what = "n_fft " + std::to_string(n);
      expect_bands(c, what);
      c.bands = 200;  // more than fit on chip at once
      c.params.spectrogram.layout = Layout::kFrameMajor;
      c.bank_dtype = DType::kFloat64;
      expect_bands(c, what + ", many bands");
      c.dtype = DType::kFloat64;
      c.placement = {{0, 2, 1}, 2, 0, {0}};
      expect_bands(c, what + ", float64");
    }
  }
}

TEST(GenericForward, LogarithmAndItsRange) {
  for (const TopScope scope : {TopScope::kItem, TopScope::kPacked}) {
    for (const double top : {std::numeric_limits<double>::infinity(), 3.0, 0.0}) {
      for (const Layout layout : {Layout::kFrequencyMajor, Layout::kFrameMajor}) {
        BandsCase c;
        c.params.spectrogram = power_params(30, 7, 2.0);
        c.params.spectrogram.layout = layout;
        c.params.log = {true, 4.34, 1.0, 0.01, 1e-3, 0.5, top, scope, 0.25, 1.5};
        c.leading = {2, 3};
        for (const emulator::Options& options : emulator::every_order()) expect_bands(c, "logarithm", options);
      }
    }
  }
}

TEST(GenericForward, EveryEpilogueBeyondSharedMemory) {
  emulator::Options small;
  small.shared_limit = 2 << 10;
  for (const std::int64_t n : {300, 242, 202}) {
    StftCase c = stft_case(n, n / 2 + 1);
    c.params.onesided = false;
    c.dtype = DType::kComplex64;
    expect_stft(c, emulator::Runner(small));
    c.dtype = DType::kFloat32;
    expect_stft(c, emulator::Runner(small));
    expect_spectrogram(power_params(n, n, 1.0), DType::kFloat32, DType::kFloat32, {}, 2e-5, small);
    for (const bool known : {true, false}) {
      BandsCase bands;
      bands.params.spectrogram = power_params(n, 2 * n, 2.0);
      bands.params.log = {true, 4.34, 1.0, 0.01, 1e-3, 0.5, 5.0, TopScope::kPacked, 0.25, 1.5};
      bands.bank_known = known;
      for (const emulator::Options& options : emulator::every_order(small)) expect_bands(bands, "large", options);
    }
  }
}

// --- the gradient of the inverse ------------------------------------------------------------------------------------

void expect_adjoint(const IstftParams& params, std::int64_t frames, DType dtype, bool windowed) {
  const std::int64_t n = params.n_fft;
  Shape shape = {2, params.onesided ? n / 2 + 1 : n, frames};
  if (params.layout == Layout::kFrameMajor) std::swap(shape[1], shape[2]);
  const Array out(testing::complex_of(dtype), shape), reference(DType::kComplex128, shape);
  const Array grad = Array(dtype, {2, istft_shape(out, params)[-1]}).randomize(23);
  const Array window = hann(n, testing::real_of(dtype));
  const Tensor* given = windowed ? &window.tensor() : nullptr;
  istft_adjoint_reference(grad, given, params, reference);
  emulator::Runner runner;
  run_generic_forward(testing::istft_adjoint_job(grad, given, params, out), runner);
  const std::string what = "n_fft " + std::to_string(n) + ", hop " + std::to_string(params.hop_length) + ", " +
                           std::to_string(frames) + " frames, length " + std::to_string(params.length);
  out.expect_written_exactly(what);
  EXPECT_LT(testing::relative_error(out, reference), testing::allowed_error(dtype)) << what;
}

TEST(GenericForward, GradientOfTheInverse) {
  for (const std::int64_t n : {1, 2, 9, 16, 34}) {
    for (const std::int64_t frames : {1, 2, 30}) {
      for (const std::int64_t hop : {std::int64_t{1}, n / 4 + 1, n / 2 + 1, n}) {
        IstftParams params;
        params.n_fft = n;
        params.hop_length = hop;
        params.center = false;
        expect_adjoint(params, frames, DType::kFloat32, true);
        params.onesided = false;
        params.normalized = true;
        params.layout = Layout::kFrameMajor;
        expect_adjoint(params, frames, DType::kFloat64, true);
        expect_adjoint(params, frames, DType::kComplex64, false);
        params.length = n + hop * (frames - 1) + 5;  // beyond the frames' end
        params.edge = EdgePolicy::kZero;
        expect_adjoint(params, frames, DType::kComplex128, true);
        params.length = (n + hop * (frames - 1)) / 2 + 1;
        expect_adjoint(params, frames, DType::kFloat32, true);
      }
    }
  }
}

}  // namespace
}  // namespace melisma::gpu
