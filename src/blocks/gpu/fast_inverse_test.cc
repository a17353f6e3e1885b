#include "blocks/gpu/fast_inverse.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "blocks/gpu/inverse_job_fixtures.h"
#include "melisma/window.h"
#include "runtime/emulator/runner.h"

namespace melisma::gpu {
namespace {

using testing::Array;
using testing::Placement;

constexpr std::int64_t kSizes[] = {256, 400, 480, 512, 640, 800, 960, 1000, 1024, 1200, 1280, 1600, 1920, 2048, 4096};

// A rounding to half or bfloat16, half an ulp at most.
double allowed(DType out) { return out == DType::kBFloat16 ? 3e-3 : out == DType::kFloat16 ? 4e-4 : 1e-6; }

// Nowhere zero, so that no envelope vanishes.
Array raised_hann(std::int64_t length) {
  Array window(DType::kFloat32, {length});
  melisma::make_window("hann", true, 0.0, window);
  for (std::int64_t i = 0; i < length; ++i) window.set(i, window.get(i) + 0.1);
  return window;
}

struct Case {
  DType out_dtype = DType::kFloat32;
  bool windowed = true;
  Placement spec = {}, out = {};
  emulator::Options device = {};
  int variant = 0;
  std::int64_t items = 2;
};

void run(const InverseJob& job, const Case& c) {
  ASSERT_EQ(fast_inverse_refuses(job), "");
  emulator::Runner runner(c.device);
  run_fast_inverse(job, runner, c.variant);
}

std::string describe(std::int64_t n, std::int64_t hop, const Case& c) {
  return "n_fft " + std::to_string(n) + ", hop " + std::to_string(hop) + ", variant " + std::to_string(c.variant) +
         ", resident " + std::to_string(c.device.resident_blocks);
}

// The result, checked against the reference.
Array istft_of(const IstftParams& params, std::int64_t frames, const Case& c = {}) {
  const std::int64_t bins = params.n_fft / 2 + 1;
  const bool frame_major = params.layout == Layout::kFrameMajor;
  const Shape shape = frame_major ? Shape{c.items, frames, bins} : Shape{c.items, bins, frames};
  const Array spec = Array(DType::kComplex64, shape, c.spec).randomize(3);
  const Array window = raised_hann(params.win_length == 0 ? params.n_fft : params.win_length);
  const Tensor* given = c.windowed ? &window.tensor() : nullptr;
  const Shape samples = istft_shape(spec, params);
  const Array reference(DType::kFloat64, samples);
  Array out(c.out_dtype, samples, c.out);
  istft_reference(spec, given, params, reference);
  run(testing::istft_job(spec, given, params, out), c);
  const std::string what = "istft, " + describe(params.n_fft, params.hop_length, c) + ", frames " +
                           std::to_string(frames) + ", length " + std::to_string(params.length);
  out.expect_written_exactly(what);
  EXPECT_LE(testing::relative_rms_error(out, reference), allowed(c.out_dtype)) << what;
  return out;
}

Array adjoint_of(const StftParams& params, std::int64_t length, const Case& c = {}) {
  Array out(c.out_dtype, {c.items, length}, c.out);
  const Array grad = Array(DType::kComplex64, stft_shape(out, params), c.spec).randomize(5);
  const FrameParams& frames = params.frames;
  const Array window = raised_hann(frames.win_length == 0 ? frames.n_fft : frames.win_length);
  const Tensor* given = c.windowed ? &window.tensor() : nullptr;
  const Array reference(DType::kFloat64, out.tensor().shape);
  stft_adjoint_reference(grad, given, params, reference);
  run(testing::stft_adjoint_job(grad, given, params, out), c);
  const std::string what = "adjoint, " + describe(frames.n_fft, frames.hop_length, c) + ", length " +
                           std::to_string(length) + ", pad " + std::to_string(frames.pad) + ", mode " +
                           std::to_string(static_cast<int>(frames.pad_mode));
  out.expect_written_exactly(what);
  EXPECT_LE(testing::relative_rms_error(out, reference), allowed(c.out_dtype)) << what;
  return out;
}

void expect_same(const Array& a, const Array& b, const std::string& what) {
  ASSERT_EQ(a.numel(), b.numel());
  std::int64_t different = 0;
  for (std::int64_t i = 0; i < a.numel(); ++i) different += a.bytes_of(i) != b.bytes_of(i) ? 1 : 0;
  EXPECT_EQ(different, 0) << what;
}

const Placement kFrameMajor{{0, 2, 1}, 1, 0, {}};

TEST(FastInverse, EveryVariant) {
  for (const std::int64_t n : kSizes) {
    InverseJob job;
    job.framing.n_fft = n;
    const int variants = static_cast<int>(fast_inverse_variants(job).size());
    ASSERT_GT(variants, 0) << n;
    for (int variant = 0; variant < variants; ++variant) {
      istft_of({.n_fft = n, .hop_length = n / 4}, 21, {.spec = kFrameMajor, .variant = variant});
      StftParams params;
      params.frames = {.n_fft = n, .hop_length = n / 2 - 3};
      adjoint_of(params, 7 * n + 1, {.spec = kFrameMajor, .variant = variant});
      // Blocks of several steps; neighbouring frames, not bins, next to each other; hops across which frames reach far.
      Case few{.variant = variant};
      few.device.resident_blocks = 2;
      istft_of({.n_fft = n, .hop_length = n / 4}, 101, few);
      istft_of({.n_fft = n, .hop_length = n / 16 / 2 * 2}, 101, few);
      few.spec = kFrameMajor;
      istft_of({.n_fft = n, .hop_length = n / 3}, 101, few);
      istft_of({.n_fft = n, .hop_length = n / 7}, 101, few);
    }
  }
}

TEST(FastInverse, HopsAndLengths) {
  const std::int64_t n = 256;
  for (const std::int64_t hop : {1, 7, 16, 31, 32, 37, 52, 64, 77, 86, 128, 200, 255, 256, 259, 600}) {
    for (const std::int64_t frames : {1, 2, 40}) {
      const std::int64_t full = n + hop * (frames - 1);
      for (const std::int64_t length : {std::int64_t{1}, full / 2 + 1, full + 700}) {
        istft_of({.n_fft = n,
                  .hop_length = hop,
                  .win_length = n - 6,
                  .center = length % 2 == 0,
                  .normalized = true,
                  .length = length,
                  .edge = EdgePolicy::kZero},
                 frames, {.spec = kFrameMajor});
      }
    }
  }
}

TEST(FastInverse, VanishingEnvelope) {
  for (const EdgePolicy edge : {EdgePolicy::kZero, EdgePolicy::kClamp}) {
    for (const std::int64_t hop : {16, 100, 128, 300}) {
      istft_of({.n_fft = 256, .hop_length = hop, .win_length = 100, .center = false, .edge = edge}, 9,
               {.spec = kFrameMajor});
    }
  }
  const IstftParams params{.n_fft = 256, .hop_length = 200, .win_length = 100, .center = false, .length = 2000};
  const Array spec = Array(DType::kComplex64, {129, 9}).randomize(3), window = raised_hann(100);
  const Array out(DType::kFloat32, {2000});
  run(testing::istft_job(spec, &window.tensor(), params, out), {});
  for (std::int64_t i = 0; i < 2000; ++i) {
    const bool beyond = i >= 8 * 200 + 256;
    const std::int64_t phase = i % 200;
    EXPECT_EQ(std::isnan(out.get(i).real()), !beyond && (phase < 78 || phase >= 178)) << i;
  }
}

TEST(FastInverse, AdjointOfEveryPadding) {
  for (const PadMode mode : {PadMode::kConstant, PadMode::kReflect, PadMode::kReplicate, PadMode::kCircular}) {
    for (const std::int64_t n : {256, 400}) {
      for (const std::int64_t pad : {std::int64_t{0}, n / 4 + 1}) {
        for (const std::int64_t length : {n / 2 + 1, 9 * n + 1}) {
          StftParams params;
          params.frames = {.n_fft = n, .hop_length = n / 3 + 1, .win_length = n - n / 4, .pad_mode = mode, .pad = pad};
          params.nyquist = length % 2 == 0;
          adjoint_of(params, length, {.spec = kFrameMajor});
        }
      }
    }
  }
}

TEST(FastInverse, StridesAndDtypes) {
  const IstftParams params{.n_fft = 400, .hop_length = 160};
  for (const Case& c : std::vector<Case>{
           {.spec = {}},                                      // frequency-major memory
           {.spec = {{}, 3, 5, {2}}},                         // frames backwards, apart
           {.spec = {{0, 2, 1}, 2, 0, {}}},                   // bins apart
           {.spec = {{0, 2, 1}, 1, 0, {1}}},                  // bins backwards
           {.spec = {{0, 2, 1}, 1, 0, {2}}},                  // rows backwards
           {.spec = {{2, 0, 1}, 1, 0, {}}},                   // items between the frames
           {.spec = kFrameMajor, .out = {{1, 0}, 1, 0, {}}},  // samples apart
           {.spec = kFrameMajor, .out = {{}, 1, 3, {0}}},     // rows that are not aligned, backwards
           {.spec = kFrameMajor, .out = {{}, 2, 1, {1}}},     // samples backwards
           {.out_dtype = DType::kFloat16, .spec = kFrameMajor},
           {.out_dtype = DType::kBFloat16, .spec = kFrameMajor},
           {.windowed = false, .spec = kFrameMajor},
       }) {
    istft_of(params, 37, c);
    StftParams padded;
    padded.frames = {.n_fft = 400, .hop_length = 100};
    padded.nyquist = false;
    adjoint_of(padded, 3001, c);
  }
}

// The same bits whatever stretches the blocks take, in whichever order threads run, and whichever batch an item is in.
TEST(FastInverse, SameBits) {
  for (const std::int64_t hop : {20, 64, 100, 256}) {
    const IstftParams params{.n_fft = 256, .hop_length = hop};
    StftParams padded;
    padded.frames = {.n_fft = 256, .hop_length = hop};
    Case c{.spec = kFrameMajor};
    c.device.resident_blocks = 1;
    const Array istft = istft_of(params, 150, c), adjoint = adjoint_of(padded, 9000, c);
    for (const std::int64_t resident : {2, 3, 30, 1000}) {
      c.device.resident_blocks = resident;
      expect_same(istft, istft_of(params, 150, c), describe(256, hop, c));
      expect_same(adjoint, adjoint_of(padded, 9000, c), describe(256, hop, c));
    }
    for (const emulator::Options& options : emulator::every_order()) {
      c.device = options;
      expect_same(istft, istft_of(params, 150, c), describe(256, hop, c));
      expect_same(adjoint, adjoint_of(padded, 9000, c), describe(256, hop, c));
    }
    Case one{.spec = kFrameMajor, .items = 1};
    const Array alone = istft_of(params, 150, one);
    for (std::int64_t i = 0; i < alone.numel(); ++i) ASSERT_EQ(alone.bytes_of(i), istft.bytes_of(i)) << i;
  }
}

TEST(FastInverse, Refuses) {
  const Array spec(DType::kComplex64, {257, 9}), out(DType::kFloat32, {1024});
  const InverseJob job = testing::istft_job(spec, nullptr, {.n_fft = 512}, out);
  EXPECT_EQ(fast_inverse_refuses(job), "");
  InverseJob other = job;
  other.framing.n_fft = 514;
  EXPECT_EQ(fast_inverse_refuses(other), "no plan for n_fft = 514");
  other = job;
  other.float64 = true;
  EXPECT_EQ(fast_inverse_refuses(other), "computed in float64");
  other = job;
  other.bins = BinSet::kFolded;
  EXPECT_EQ(fast_inverse_refuses(other), "two-sided spectrum");
}

}  // namespace
}  // namespace melisma::gpu
