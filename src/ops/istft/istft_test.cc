#include "melisma/istft.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "melisma/stft.h"
#include "testing/array.h"
#include "testing/fixtures.h"
#include "testing/tolerances.h"

namespace melisma {
namespace {

using namespace testing;

std::string describe(const Tensor& spec, const IstftParams& p) {
  return std::string(dtype_name(spec.dtype)) + " n_fft " + std::to_string(p.n_fft) + " hop " +
         std::to_string(p.hop_length) + " win " + std::to_string(p.win_length) + " frames " +
         std::to_string(spec.size(p.layout == Layout::kFrameMajor ? -2 : -1)) + " center " + std::to_string(p.center) +
         " normalized " + std::to_string(p.normalized) + " onesided " + std::to_string(p.onesided) + " length " +
         std::to_string(p.length) + " edge " + std::to_string(static_cast<int>(p.edge)) + " layout " +
         std::to_string(static_cast<int>(p.layout)) + " on " + simd_target();
}

// Spectra are made in frame-major order, so that they are the same for both layouts.
Array spectrum(DType dtype, std::int64_t items, std::int64_t bins, std::int64_t frames, Layout layout) {
  if (layout == Layout::kFrameMajor) return Array(dtype, {items, frames, bins}).randomize(23);
  return Array(dtype, {items, bins, frames}, {{0, 2, 1}, 1, 0, {}}).randomize(23);
}

// For each sample, what an error of 1 in every sample of every frame can make of it: sum_t |w| / envelope.
std::vector<double> amplification(const Window& window, const IstftParams& p, std::int64_t frames,
                                  std::int64_t samples) {
  const std::int64_t win = p.win_length == 0 ? p.n_fft : p.win_length;
  std::vector<double> sum(static_cast<std::size_t>(samples)), envelope(static_cast<std::size_t>(samples));
  const std::int64_t first = p.center ? p.n_fft / 2 : 0;
  for (std::int64_t t = 0; t < frames; ++t) {
    for (std::int64_t i = 0; i < win; ++i) {
      const std::int64_t n = t * p.hop_length + (p.n_fft - win) / 2 + i - first;
      if (n < 0 || n >= samples) continue;
      const double w = window.get() == nullptr ? 1.0 : static_cast<double>(window.values[static_cast<std::size_t>(i)]);
      sum[static_cast<std::size_t>(n)] += std::abs(w);
      envelope[static_cast<std::size_t>(n)] += w * w;
    }
  }
  for (std::size_t n = 0; n < sum.size(); ++n) sum[n] /= std::max(envelope[n], 1e-11);
  return sum;
}

void expect_matches_reference(const Tensor& spec, const Window& window, const IstftParams& params, const Array& out) {
  const Array want(is_complex(out.tensor().dtype) ? DType::kComplex128 : DType::kFloat64, istft_shape(spec, params));
  istft_reference(spec, window.get(), params, want);
  const std::int64_t frames = spec.size(params.layout == Layout::kFrameMajor ? -2 : -1),
                     samples = want.tensor().size(-1);
  const std::vector<double> amplified = amplification(window, params, frames, samples);
  // Spectra are uniform in the square of side 2, so no frame's norm exceeds sqrt(2 n_fft), nor a sample's share sqrt(2
  // / n_fft).
  const double eps = unit(spec.dtype), scale = params.normalized ? std::sqrt(static_cast<double>(params.n_fft)) : 1.0;
  const double norm = scale * std::sqrt(2.0 / static_cast<double>(params.n_fft));
  const double frame_error = norm * transform_error(params.n_fft, eps);
  for (std::int64_t i = 0; i < want.numel(); ++i) {
    const double a = amplified[static_cast<std::size_t>(i % samples)];
    const double allowed = a * frame_error + 4 * eps * std::abs(want.get(i));
    ASSERT_LE(std::abs(out.get(i) - want.get(i)), allowed) << describe(spec, params) << ", sample " << i % samples;
  }
}

void run_and_check(const Tensor& spec, const Window& window, const IstftParams& params, bool complex_result = false,
                   const Placement& placement = {}) {
  const DType dtype = complex_result ? spec.dtype : real_of(spec.dtype);
  const Array out(dtype, istft_shape(spec, params), placement);
  istft(spec, window.get(), params, out);
  out.expect_written_exactly(describe(spec, params));
  expect_matches_reference(spec, window, params, out);
}

class IstftTest : public SimdTest {};
MELISMA_ON_EVERY_SIMD_TARGET(IstftTest);

TEST_P(IstftTest, EveryPromisedSize) {
  for (const std::int64_t n_fft : promised_sizes()) {
    const IstftParams params{
        .n_fft = n_fft, .hop_length = std::max<std::int64_t>(1, n_fft / 4), .edge = EdgePolicy::kZero};
    const Window window("hann", n_fft);
    for (const DType dtype : {DType::kComplex64, DType::kComplex128}) {
      const Array spec = spectrum(dtype, 1, n_fft / 2 + 1, 6, params.layout);
      run_and_check(spec, window, params);
      if (n_fft <= 2048) {
        IstftParams two_sided = params;
        two_sided.onesided = false;
        const Array both = spectrum(dtype, 1, n_fft, 6, params.layout);
        run_and_check(both, window, two_sided);
        run_and_check(both, window, two_sided, true);
      }
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(IstftTest, EveryModeLengthAndPolicy) {
  for (const std::int64_t n_fft : {1, 2, 3, 4, 7, 16, 20, 31, 64, 100, 512}) {
    for (const std::int64_t hop : {std::int64_t{1}, n_fft / 4 + 1, n_fft, n_fft + 3}) {
      for (const std::int64_t frames : {1, 2, 5, 18}) {
        for (const bool center : {true, false}) {
          const std::int64_t full = n_fft + hop * (frames - 1) - (center ? n_fft / 2 * 2 : 0);
          for (const std::int64_t length :
               {std::int64_t{-1}, std::int64_t{0}, std::int64_t{1}, full / 2, full + 1, full + n_fft + 50}) {
            if (length < 0 && full < 1) continue;
            for (const EdgePolicy edge : {EdgePolicy::kZero, EdgePolicy::kClamp}) {
              for (const Layout layout : {Layout::kFrequencyMajor, Layout::kFrameMajor}) {
                IstftParams params{n_fft, hop, n_fft - n_fft / 4, center, length % 2 == 0, true, length, edge, layout};
                const Window window("hann", params.win_length);
                run_and_check(spectrum(DType::kComplex64, 2, n_fft / 2 + 1, frames, layout), window, params);
                if (layout == Layout::kFrameMajor) {
                  params.onesided = false;
                  run_and_check(spectrum(DType::kComplex64, 1, n_fft, frames, layout), window, params, true);
                }
                if (HasFatalFailure()) return;
              }
            }
          }
        }
      }
    }
  }
}

TEST_P(IstftTest, DcAndNyquistHaveNoImaginaryPart) {
  for (const std::int64_t n_fft : {1, 2, 5, 16, 20, 64, 512, 1103}) {
    const IstftParams params{.n_fft = n_fft, .hop_length = n_fft / 4 + 1, .edge = EdgePolicy::kZero};
    const std::int64_t frames = 9, bins = n_fft / 2 + 1;
    Array spec = spectrum(DType::kComplex64, 1, bins, frames, params.layout);
    const Array noisy(DType::kFloat32, istft_shape(spec, params)), clean(DType::kFloat32, istft_shape(spec, params));
    istft(spec, nullptr, params, noisy);
    for (std::int64_t t = 0; t < frames; ++t) {
      spec.set(t, spec.get(t).real());
      if (n_fft % 2 == 0) spec.set((bins - 1) * frames + t, spec.get((bins - 1) * frames + t).real());
    }
    istft(spec, nullptr, params, clean);
    EXPECT_TRUE(same_bits(noisy, clean)) << n_fft;
  }
}

TEST_P(IstftTest, BatchThreadsAndLayoutsDoNotChangeBits) {
  for (const std::int64_t n_fft : {17, 20, 64, 400, 512, 1024}) {
    for (const std::int64_t hop : {n_fft / 4, n_fft / 3, n_fft + 7}) {
      const std::int64_t frames = 401;
      IstftParams params{.n_fft = n_fft, .hop_length = hop, .edge = EdgePolicy::kZero};
      const Window window("hann", n_fft);
      const Array spec = spectrum(DType::kComplex64, 3, n_fft / 2 + 1, frames, params.layout);
      const Array one(DType::kFloat32, istft_shape(spec, params));
      {
        const Threads threads(1);
        istft(spec, window.get(), params, one);
      }
      one.expect_written_exactly(describe(spec, params));
      for (const int n : {2, 3}) {
        const Threads threads(n);
        const Array many(DType::kFloat32, istft_shape(spec, params));
        istft(spec, window.get(), params, many);
        EXPECT_TRUE(same_bits(one, many)) << n << " threads, " << describe(spec, params);
      }
      const std::int64_t samples = one.tensor().size(-1);
      for (std::int64_t item = 0; item < 3; ++item) {
        const Tensor single = item_view(spec, item);
        const Array got(DType::kFloat32, istft_shape(single, params));
        istft(single, window.get(), params, got);
        for (std::int64_t i = 0; i < samples; ++i)
          ASSERT_EQ(got.bytes_of(i), one.bytes_of(item * samples + i)) << n_fft;
      }
      for (const Placement& place : {Placement{}, Placement{{1, 2, 0}, 1, 0, {1}}, Placement{{}, 3, 2, {0, 2}}}) {
        const Array strided = copy_of(spec, DType::kComplex64, place);
        const Array got(DType::kFloat32, istft_shape(strided, params));
        istft(strided, window.get(), params, got);
        EXPECT_TRUE(same_bits(got, one)) << describe(spec, params);
      }
      for (const Placement& place : {Placement{{}, 2, 0, {}}, Placement{{1, 0}, 1, 0, {}}, Placement{{}, 1, 3, {1}}}) {
        const Array got(DType::kFloat32, istft_shape(spec, params), place);
        istft(spec, window.get(), params, got);
        got.expect_written_exactly(describe(spec, params));
        EXPECT_TRUE(same_bits(got, one)) << describe(spec, params);
      }
      params.layout = Layout::kFrameMajor;
      Tensor transposed = spec;
      std::swap(transposed.shape[-1], transposed.shape[-2]);
      std::swap(transposed.strides[1], transposed.strides[2]);
      const Array got(DType::kFloat32, istft_shape(transposed, params));
      istft(transposed, window.get(), params, got);
      EXPECT_TRUE(same_bits(got, one)) << describe(spec, params);
    }
  }
}

TEST_P(IstftTest, FramesDoNotLeakIntoEachOther) {
  for (const std::int64_t n_fft : {15, 20, 64, 512}) {
    const std::int64_t hop = n_fft + n_fft / 3 + 1, frames = 400, bins = n_fft / 2 + 1;  // gaps
    const IstftParams params{.n_fft = n_fft, .hop_length = hop, .center = false, .edge = EdgePolicy::kZero};
    Array spec = spectrum(DType::kComplex64, 1, bins, frames, params.layout);
    for (std::int64_t k = 0; k < bins; ++k) {
      for (std::int64_t t = 0; t < frames; t += 2) spec.set(k * frames + t, std::numeric_limits<double>::quiet_NaN());
    }
    for (const int n : {1, 3}) {
      const Threads threads(n);
      const Array out(DType::kFloat32, istft_shape(spec, params));
      istft(spec, nullptr, params, out);
      for (std::int64_t i = 0; i < out.numel(); ++i) {
        const bool gap = i % hop >= n_fft, poisoned = i / hop % 2 == 0;
        const double y = out.get(i).real();
        ASSERT_TRUE(gap ? y == 0.0 : std::isnan(y) == poisoned)
            << n_fft << ", " << n << " threads, sample " << i << ": " << y;
      }
    }
  }
}

TEST_P(IstftTest, RoundTripWithin4e6) {
  for (const std::int64_t n_fft : promised_sizes()) {
    const std::int64_t hop = std::max<std::int64_t>(1, n_fft / 4), length = std::max<std::int64_t>(3 * n_fft, 40) + 3;
    const Array x = Array(DType::kFloat32, {length}).randomize(29);
    // A periodic Hann window of 2 or 3 samples overlaps to nothing somewhere; those take ones.
    const Window window(n_fft < 4 ? "" : "hann", n_fft);
    const StftParams forward{.frames = {.n_fft = n_fft, .hop_length = hop}};
    const Array spec(DType::kComplex64, stft_shape(x, forward), {{1, 0}, 1, 0, {}});
    stft(x, window.get(), forward, spec);
    const IstftParams params{.n_fft = n_fft, .hop_length = hop, .length = length, .edge = EdgePolicy::kZero};
    const Array back(DType::kFloat32, istft_shape(spec, params));
    istft(spec, window.get(), params, back);
    // The last hop - 1 samples may lie beyond the last frame's start by more than half a frame.
    const std::int64_t covered = std::min(length, (spec.tensor().size(-1) - 1) * hop + 1);
    for (std::int64_t i = 0; i < covered; ++i)
      ASSERT_NEAR(back.get(i).real(), x.get(i).real(), 4e-6) << n_fft << " sample " << i;
  }
}

TEST(IstftErrors, VanishingEnvelope) {
  const Array spec = spectrum(DType::kComplex64, 1, 201, 10, Layout::kFrequencyMajor);
  IstftParams params{.n_fft = 400, .hop_length = 100, .center = false};
  const Window hann("hann", 400);
  const Array out(DType::kFloat32, istft_shape(spec, params));
  // A periodic Hann window starts with 0, so that sample 0 cannot be recovered.
  expect_error(ErrorKind::kInvalidArgument, "istft", {"window", "sample 0", "edge"},
               [&] { istft(spec, hann.get(), params, out); });
  EXPECT_TRUE(out.untouched());
  params.edge = EdgePolicy::kZero;
  istft(spec, hann.get(), params, out);
  EXPECT_EQ(out.get(0).real(), 0.0);
  params = {.n_fft = 400, .hop_length = 500, .center = false};  // gaps between frames
  const Array gaps(DType::kFloat32, istft_shape(spec, params));
  expect_error(ErrorKind::kInvalidArgument, "istft", {"window", "sample 400"},
               [&] { istft(spec, nullptr, params, gaps); });
  params.length = 400;  // the gap is not asked for
  const Array before(DType::kFloat32, istft_shape(spec, params));
  istft(spec, nullptr, params, before);
  before.expect_written_exactly("before the gap");
}

TEST(IstftErrors, NameOperatorArgumentAndValue) {
  const Array spec = spectrum(DType::kComplex64, 1, 201, 10, Layout::kFrequencyMajor);
  const IstftParams good{.n_fft = 400, .hop_length = 100};
  const Window window("hann", 400);
  const Array out(DType::kFloat32, istft_shape(spec, good));
  const auto bad = [&](const std::vector<std::string>& parts, auto change) {
    IstftParams params = good;
    change(params);
    expect_error(ErrorKind::kInvalidArgument, "istft", parts, [&] { istft(spec, window.get(), params, out); });
  };
  bad({"n_fft", "0"}, [](IstftParams& p) { p.n_fft = 0; });
  bad({"n_fft"}, [](IstftParams& p) { p.n_fft = std::numeric_limits<std::int64_t>::max(); });
  bad({"201", "202"}, [](IstftParams& p) { p.n_fft = 402; });
  bad({"201", "400"}, [](IstftParams& p) { p.onesided = false; });
  bad({"hop_length", "-3"}, [](IstftParams& p) { p.hop_length = -3; });
  bad({"hop_length"}, [](IstftParams& p) { p.hop_length = std::numeric_limits<std::int64_t>::max(); });
  bad({"win_length", "401"}, [](IstftParams& p) { p.win_length = 401; });
  bad({"window", "200", "400"}, [](IstftParams& p) { p.win_length = 200; });
  bad({"length", "-2"}, [](IstftParams& p) { p.length = -2; });
  bad({"length"}, [](IstftParams& p) { p.length = std::numeric_limits<std::int64_t>::max(); });
  bad({"out", "[1, 900]"}, [](IstftParams& p) { p.length = 901; });

  const Array real(DType::kFloat32, {201, 10}), vector(DType::kComplex64, {201}), none(DType::kComplex64, {201, 0});
  const auto shape_of = [&](const Array& a) { return [&] { istft_shape(a, good); }; };
  expect_error(ErrorKind::kInvalidType, "istft", {"complex64", "float32"}, shape_of(real));
  expect_error(ErrorKind::kInvalidArgument, "istft", {"2", "1"}, shape_of(vector));
  expect_error(ErrorKind::kInvalidArgument, "istft", {"frame", "0"}, shape_of(none));
  const Array complex_out(DType::kComplex64, {1, 900}), double_out(DType::kFloat64, {1, 900});
  expect_error(ErrorKind::kInvalidArgument, "istft", {"onesided"}, [&] { istft(spec, nullptr, good, complex_out); });
  expect_error(ErrorKind::kInvalidType, "istft", {"out", "float32", "float64"},
               [&] { istft(spec, nullptr, good, double_out); });
  EXPECT_TRUE(out.untouched());
}

}  // namespace
}  // namespace melisma
