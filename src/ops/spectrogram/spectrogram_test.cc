#include "melisma/spectrogram.h"

#include <cmath>
#include <limits>

#include "testing/array.h"
#include "testing/fixtures.h"
#include "testing/intervals.h"

namespace melisma {
namespace {

using namespace testing;

std::string describe(const Tensor& x, const SpectrogramParams& p) {
  return std::string(dtype_name(x.dtype)) + " n_fft " + std::to_string(p.frames.n_fft) + " hop " +
         std::to_string(p.frames.hop_length) + " power " + std::to_string(p.power) + " norm " +
         std::to_string(static_cast<int>(p.norm)) + " nyquist " + std::to_string(p.nyquist) + " layout " +
         std::to_string(static_cast<int>(p.layout)) + " on " + simd_target();
}

void run_and_check(const Tensor& x, const Tensor* window, const SpectrogramParams& params,
                   const Placement& placement = {}) {
  const Array out(real_of(x.dtype), spectrogram_shape(x, params), placement);
  spectrogram(x, window, params, out);
  out.expect_written_exactly(describe(x, params));
  expect_inside(out, params.layout, spectrogram_intervals(x, window, params), describe(x, params));
}

class SpectrogramTest : public SimdTest {};
MELISMA_ON_EVERY_SIMD_TARGET(SpectrogramTest);

TEST_P(SpectrogramTest, EveryPromisedSize) {
  for (const std::int64_t n_fft : promised_sizes()) {
    SpectrogramParams params;
    params.frames.n_fft = n_fft;
    params.frames.hop_length = std::max<std::int64_t>(1, n_fft / 4);
    const Window window("hann", n_fft);
    for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
      const Array x = Array(dtype, {std::max<std::int64_t>(n_fft + n_fft / 2, 5)}).randomize(31);
      run_and_check(x, window.get(), params);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(SpectrogramTest, PowersNormsAndLayouts) {
  for (const std::int64_t n_fft : {1, 2, 7, 16, 20, 64, 67, 400, 512}) {
    for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kInt16}) {
      const Array x = Array(dtype, {2, n_fft + 200}).randomize(37);
      for (const double power : {0.5, 1.0, 1.7, 2.0, 3.0}) {
        for (const SpectrumNorm norm : {SpectrumNorm::kNone, SpectrumNorm::kFrameLength, SpectrumNorm::kWindow}) {
          for (const bool nyquist : {true, false}) {
            if (!nyquist && n_fft % 2 != 0) continue;
            for (const Layout layout : {Layout::kFrequencyMajor, Layout::kFrameMajor}) {
              SpectrogramParams params{{.n_fft = n_fft, .hop_length = n_fft / 3 + 1}, power, norm, nyquist, layout};
              params.frames.pad = n_fft % 2;
              params.frames.input_scale = dtype == DType::kInt16 ? 1.0 / 32768 : 1.0;
              run_and_check(x, Window("hamming", n_fft).get(), params,
                            nyquist ? Placement{} : Placement{{0, 2, 1}, 1, 3, {}});
              if (HasFatalFailure()) return;
            }
          }
        }
      }
    }
  }
}

TEST_P(SpectrogramTest, FrameCountsBatchThreadsAndStridesDoNotChangeBits) {
  for (const std::int64_t n_fft : {7, 20, 64, 400, 512, 1103}) {
    SpectrogramParams params{.frames = {.n_fft = n_fft, .hop_length = n_fft / 4 + 1, .center = false},
                             .layout = Layout::kFrameMajor};
    const Window window("hann", n_fft);
    const std::int64_t hop = params.frames.hop_length, frames = 300;
    const Array x = Array(DType::kFloat32, {2, n_fft + (frames - 1) * hop}).randomize(41);
    const Array want(DType::kFloat32, spectrogram_shape(x, params));
    {
      const Threads threads(1);
      spectrogram(x, window.get(), params, want);
    }
    const std::int64_t bins = want.tensor().size(-1);
    for (const int n : {2, 3}) {
      const Threads threads(n);
      const Array got(DType::kFloat32, spectrogram_shape(x, params), {{2, 1, 0}, 1, 2, {1}});
      spectrogram(x, window.get(), params, got);
      got.expect_written_exactly(describe(x, params));
      EXPECT_TRUE(same_bits(got, want)) << n << " threads, " << describe(x, params);
    }
    for (const std::int64_t count : kFrameCounts) {
      const Tensor part = last_axis_slice(item_view(x, 1), 3 * hop, n_fft + (count - 1) * hop);
      const Array got(DType::kFloat32, spectrogram_shape(part, params));
      spectrogram(part, window.get(), params, got);
      for (std::int64_t i = 0; i < got.numel(); ++i) {
        ASSERT_EQ(got.bytes_of(i), want.bytes_of((frames + 3) * bins + i)) << n_fft << ", " << count << " frames";
      }
    }
    const Array reversed = copy_of(x, DType::kFloat32, {{1, 0}, 2, 1, {0, 1}});
    params.layout = Layout::kFrequencyMajor;
    for (const Placement& place : {Placement{}, Placement{{0, 2, 1}, 1, 0, {}}, Placement{{1, 0, 2}, 3, 0, {2}}}) {
      const Array got(DType::kFloat32, spectrogram_shape(x, params), place);
      spectrogram(reversed, window.get(), params, got);
      got.expect_written_exactly(describe(x, params));
      for (std::int64_t i = 0; i < got.numel(); ++i) {
        const std::int64_t t = i % frames, k = i / frames % bins, item = i / frames / bins;
        ASSERT_EQ(got.bytes_of(i), want.bytes_of((item * frames + t) * bins + k)) << describe(x, params);
      }
    }
  }
}

TEST_P(SpectrogramTest, ExtremeMagnitudes) {
  // The square of a magnitude must fit float32's normal range: 1e-18 to 1e18.
  for (const std::int64_t n_fft : {20, 64}) {
    for (const double size : {3e-18, 1e-9, 1e9, 1e17}) {
      Array x = Array(DType::kFloat32, {4 * n_fft}).randomize(43);
      for (std::int64_t i = 0; i < x.numel(); ++i) x.set(i, x.get(i) * size);
      const SpectrogramParams params{.frames = {.n_fft = n_fft, .hop_length = n_fft}, .power = 1.0};
      run_and_check(x, nullptr, params);
    }
  }
}

TEST(SpectrogramErrors, NameOperatorArgumentAndValue) {
  const Array x = Array(DType::kFloat32, {1000}).randomize();
  const SpectrogramParams good{.frames = {.n_fft = 401, .hop_length = 160}};
  const Array out(DType::kFloat32, spectrogram_shape(x, good));
  const auto bad = [&](const std::vector<std::string>& parts, auto change) {
    SpectrogramParams params = good;
    change(params);
    expect_error(ErrorKind::kInvalidArgument, "spectrogram", parts, [&] { spectrogram(x, nullptr, params, out); });
  };
  bad({"power", "0"}, [](SpectrogramParams& p) { p.power = 0.0; });
  bad({"power", "-1"}, [](SpectrogramParams& p) { p.power = -1.0; });
  bad({"power", "nan"}, [](SpectrogramParams& p) { p.power = std::nan(""); });
  bad({"power", "inf"}, [](SpectrogramParams& p) { p.power = std::numeric_limits<double>::infinity(); });
  bad({"nyquist", "401"}, [](SpectrogramParams& p) { p.nyquist = false; });
  bad({"n_fft", "0"}, [](SpectrogramParams& p) { p.frames.n_fft = 0; });
  bad({"hop_length", "-1"}, [](SpectrogramParams& p) { p.frames.hop_length = -1; });
  const std::vector<float> zeros(401, 0.0f);
  const Tensor zero_window(const_cast<float*>(zeros.data()), DType::kFloat32, {401});
  SpectrogramParams normed = good;
  normed.norm = SpectrumNorm::kWindow;
  expect_error(ErrorKind::kInvalidArgument, "spectrogram", {"window"},
               [&] { spectrogram(x, &zero_window, normed, out); });
  const Array complex(DType::kComplex64, {1000});
  expect_error(ErrorKind::kInvalidType, "spectrogram", {"input", "complex64"},
               [&] { spectrogram_shape(complex, good); });
  EXPECT_TRUE(out.untouched());
}

}  // namespace
}  // namespace melisma
