#include "blocks/gpu/generic_inverse.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "blocks/gpu/inverse_job_fixtures.h"
#include "melisma/window.h"
#include "runtime/emulator/runner.h"

namespace melisma::gpu {
namespace {

using testing::Array;
using testing::Placement;

constexpr std::int64_t kSizes[] = {1,  2,  3,  4,  5,   6,   7,   8,   9,   10,   11,
                                   12, 30, 64, 97, 100, 128, 400, 441, 512, 1000, 1024};

double allowed(DType x) { return testing::is_double(x) ? 1e-13 : 1e-6; }

// Nowhere zero: no envelope vanishes, no size has a window of zeros.
Array raised_hann(std::int64_t length, DType dtype) {
  Array window(dtype, {length});
  melisma::make_window("hann", true, 0.0, window);
  for (std::int64_t i = 0; i < length; ++i) window.set(i, window.get(i) + 0.1);
  return window;
}

struct Case {
  DType dtype = DType::kComplex64;  // of the spectrum
  bool complex_result = false, windowed = true;
  Placement spec = {}, out = {};
  emulator::Options device = {};
};

std::string describe(const IstftParams& p, const Shape& spec, const Case& c) {
  return std::string(dtype_name(c.dtype)) + (c.complex_result ? " to complex" : "") + ", n_fft " +
         std::to_string(p.n_fft) + ", hop " + std::to_string(p.hop_length) + ", length " + std::to_string(p.length) +
         ", edge " + std::to_string(static_cast<int>(p.edge)) + ", spectrum " + std::to_string(spec[-2]) + " x " +
         std::to_string(spec[-1]);
}

void expect_istft(const IstftParams& params, std::int64_t frames, const Case& c = {}) {
  const std::int64_t bins = params.onesided ? params.n_fft / 2 + 1 : params.n_fft;
  const bool frame_major = params.layout == Layout::kFrameMajor;
  const Shape shape = frame_major ? Shape{2, frames, bins} : Shape{2, bins, frames};
  const Array spec = Array(c.dtype, shape, c.spec).randomize(3);
  const Array window =
      raised_hann(params.win_length == 0 ? params.n_fft : params.win_length, testing::real_of(c.dtype));
  const Tensor* given = c.windowed ? &window.tensor() : nullptr;
  const Shape samples = istft_shape(spec, params);
  const Array reference(c.complex_result ? DType::kComplex128 : DType::kFloat64, samples);
  const Array out(c.complex_result ? c.dtype : testing::real_of(c.dtype), samples, c.out);
  istft_reference(spec, given, params, reference);
  emulator::Runner runner(c.device);
  run_generic_inverse(testing::istft_job(spec, given, params, out), runner);
  const std::string what = describe(params, shape, c);
  out.expect_written_exactly(what);
  EXPECT_LE(testing::relative_rms_error(out, reference), allowed(c.dtype)) << what;
}

void expect_adjoint(const StftParams& params, std::int64_t length, const Case& c = {}) {
  const DType dtype = c.complex_result ? c.dtype : testing::real_of(c.dtype);
  const Array out(dtype, {2, length}, c.out);
  const Array grad = Array(c.dtype, stft_shape(out, params), c.spec).randomize(5);
  const FrameParams& frames = params.frames;
  const Array window = raised_hann(frames.win_length == 0 ? frames.n_fft : frames.win_length, testing::real_of(dtype));
  const Tensor* given = c.windowed ? &window.tensor() : nullptr;
  const Array reference(c.complex_result ? DType::kComplex128 : DType::kFloat64, out.tensor().shape);
  stft_adjoint_reference(grad, given, params, reference);
  emulator::Runner runner(c.device);
  run_generic_inverse(testing::stft_adjoint_job(grad, given, params, out), runner);
  const std::string what = "adjoint, " + std::string(dtype_name(c.dtype)) + ", n_fft " + std::to_string(frames.n_fft) +
                           ", hop " + std::to_string(frames.hop_length) + ", length " + std::to_string(length) +
                           ", pad " + std::to_string(frames.pad) + ", mode " +
                           std::to_string(static_cast<int>(frames.pad_mode));
  out.expect_written_exactly(what);
  EXPECT_LE(testing::relative_rms_error(out, reference), allowed(c.dtype)) << what;
}

TEST(GenericInverse, EverySize) {
  for (const std::int64_t n : kSizes) {
    for (const DType dtype : {DType::kComplex64, DType::kComplex128}) {
      IstftParams params{.n_fft = n, .hop_length = n / 3 + 1};
      Case c{.dtype = dtype};
      expect_istft(params, 7, c);
      if (n > 128) continue;
      params.onesided = false;
      c.complex_result = true;
      expect_istft(params, 7, c);
    }
  }
}

TEST(GenericInverse, HopsLengthsAndLayouts) {
  for (const std::int64_t n : {1, 2, 7, 12, 16, 30}) {
    for (const std::int64_t hop : {std::int64_t{1}, std::int64_t{3}, n, n + 1, 5 * n + 2}) {
      for (const std::int64_t frames : {1, 2, 17}) {
        const std::int64_t full = n + hop * (frames - 1);
        for (const std::int64_t length : {std::int64_t{1}, full / 2 + 1, full + 40}) {
          for (const bool center : {false, true}) {
            const Layout layout = frames % 2 == 0 ? Layout::kFrameMajor : Layout::kFrequencyMajor;
            expect_istft({.n_fft = n,
                          .hop_length = hop,
                          .win_length = (n + 1) / 2,
                          .center = center,
                          .normalized = center,
                          .length = length,
                          .edge = EdgePolicy::kZero,
                          .layout = layout},
                         frames);
          }
        }
      }
    }
  }
}

TEST(GenericInverse, VanishingEnvelope) {
  for (const EdgePolicy edge : {EdgePolicy::kZero, EdgePolicy::kClamp}) {
    for (const std::int64_t hop : {2, 8, 11}) {
      expect_istft({.n_fft = 8, .hop_length = hop, .win_length = 4, .center = false, .edge = edge}, 9);
    }
  }
  const IstftParams params{.n_fft = 8, .hop_length = 11, .win_length = 4, .center = false, .length = 120};
  const Array spec = Array(DType::kComplex64, {5, 9}).randomize(3), window = raised_hann(4, DType::kFloat32);
  const Array out(DType::kFloat32, {120}), zeros(DType::kFloat32, {120});
  emulator::Runner runner;
  InverseJob job = testing::istft_job(spec, &window.tensor(), params, out);
  run_generic_inverse(job, runner);
  job.envelope.edge = EdgePolicy::kZero;
  job.out = make_signal(zeros);
  run_generic_inverse(job, runner);
  for (std::int64_t i = 0; i < 120; ++i) {
    const bool beyond = i >= 8 * 11 + 8, vanishes = i % 11 < 2 || i % 11 >= 6;
    EXPECT_EQ(std::isnan(out.get(i).real()), !beyond && vanishes) << i;
    if (beyond || !vanishes) {
      EXPECT_EQ(out.bytes_of(i), zeros.bytes_of(i)) << i;
    }
  }
}

TEST(GenericInverse, AdjointOfEveryPadding) {
  for (const PadMode mode : {PadMode::kConstant, PadMode::kReflect, PadMode::kReplicate, PadMode::kCircular}) {
    for (const std::int64_t n : {1, 2, 5, 8, 64, 441}) {
      for (const std::int64_t pad : {std::int64_t{0}, n / 4 + 1, n + 3}) {
        for (const std::int64_t length : {n / 2 + 1, 3 * n + 1}) {
          StftParams params;
          params.frames = {.n_fft = n, .hop_length = n / 3 + 1, .win_length = n - n / 4, .pad_mode = mode, .pad = pad};
          expect_adjoint(params, length);
          if (n > 64) continue;
          params.onesided = false;
          expect_adjoint(params, length);
          expect_adjoint(params, length, {.dtype = DType::kComplex128, .complex_result = true, .windowed = false});
        }
      }
    }
  }
}

TEST(GenericInverse, AdjointOfEveryFraming) {
  for (const std::int64_t n : {8, 12, 64}) {
    for (const double fractional : {0.0, 1.0, 4.41, 7.9, 100.25}) {
      StftParams params;
      params.frames.n_fft = n;
      params.frames.pad_mode = PadMode::kConstant;
      params.frames.tail = FrameTail::kCovers;
      params.frames.fractional_hop = fractional;
      params.nyquist = false;
      expect_adjoint(params, 4 * n + 3);
    }
    StftParams params;
    params.frames = {.n_fft = n, .hop_length = 3, .win_length = n / 2, .center = false, .align_to_window = true};
    expect_adjoint(params, 3 * n);
  }
}

TEST(GenericInverse, StridesAndOrders) {
  const IstftParams params{.n_fft = 20, .hop_length = 5};
  const Placement frame_major{{0, 2, 1}, 1, 0, {}};
  for (const emulator::Options& options : emulator::every_order()) {
    expect_istft(params, 30, {.spec = frame_major, .device = options});
    expect_istft(params, 30, {.spec = {{}, 2, 3, {1}}, .out = {{1, 0}, 2, 0, {1}}, .device = options});
  }
  StftParams padded;
  padded.frames = {.n_fft = 16, .hop_length = 4};
  for (const emulator::Options& options : emulator::every_order()) {
    expect_adjoint(padded, 100, {.spec = {{}, 1, 5, {2}}, .out = {{}, 3, 0, {}}, .device = options});
  }
}

TEST(GenericInverse, WithoutFloat64) {
  for (const std::int64_t n : {7, 30, 97, 128, 512}) {
    expect_istft({.n_fft = n, .hop_length = n / 4 + 1, .win_length = n - 1}, 9, {.device = emulator::Options::metal()});
  }
  for (const PadMode mode : {PadMode::kReflect, PadMode::kReplicate}) {
    StftParams params;
    params.frames = {.n_fft = 64, .hop_length = 16, .pad_mode = mode};
    expect_adjoint(params, 300, {.device = emulator::Options::metal()});
  }
}

// Whatever the batch, the blocks and the frames a step, the bits are the same.
TEST(GenericInverse, BitsDoNotDependOnTheBatchOrTheDevice) {
  const IstftParams params{.n_fft = 64, .hop_length = 16};
  const Array spec = Array(DType::kComplex64, {3, 33, 150}).randomize(3), window = raised_hann(64, DType::kFloat32);
  const Shape shape = istft_shape(spec, params);
  const Array all(DType::kFloat32, shape), other(DType::kFloat32, shape);
  emulator::Options few;
  few.shared_limit = 3 << 10;
  few.resident_blocks = 1;
  emulator::Runner runner, small(few);
  run_generic_inverse(testing::istft_job(spec, &window.tensor(), params, all), runner);
  run_generic_inverse(testing::istft_job(spec, &window.tensor(), params, other), small);
  EXPECT_TRUE(testing::same_bits(all, other));
  for (std::int64_t i = 0; i < 3; ++i) {
    const Tensor item = testing::item_view(spec, i);
    const Array one(DType::kFloat32, istft_shape(item, params));
    run_generic_inverse(testing::istft_job(item, &window.tensor(), params, one), runner);
    for (std::int64_t j = 0; j < one.numel(); ++j) {
      ASSERT_EQ(one.bytes_of(j), all.bytes_of(i * one.numel() + j)) << "item " << i << ", sample " << j;
    }
  }
}

TEST(GenericInverse, NothingToDo) {
  const IstftParams params{.n_fft = 8, .hop_length = 2, .length = 0};
  const Array spec = Array(DType::kComplex64, {2, 5, 4}).randomize(3), out(DType::kFloat32, {2, 0});
  emulator::Runner runner;
  run_generic_inverse(testing::istft_job(spec, nullptr, params, out), runner);
  EXPECT_TRUE(out.untouched());
}

}  // namespace
}  // namespace melisma::gpu
