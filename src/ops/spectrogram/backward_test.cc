#include <cmath>
#include <limits>

#include "melisma/spectrogram.h"
#include "ops/spectrogram/backward_bounds.h"
#include "testing/array.h"
#include "testing/fixtures.h"

namespace melisma {
namespace {

using namespace testing;

std::string describe(const Tensor& x, const SpectrogramParams& p) {
  const FrameParams& f = p.frames;
  return std::string(dtype_name(x.dtype)) + " samples " + std::to_string(x.size(-1)) + " n_fft " +
         std::to_string(f.n_fft) + " hop " + std::to_string(f.hop_length) + " fractional " +
         std::to_string(f.fractional_hop) + " win " + std::to_string(f.win_length) + " center " +
         std::to_string(f.center) + " mode " + std::to_string(static_cast<int>(f.pad_mode)) + " pad " +
         std::to_string(f.pad) + " power " + std::to_string(p.power) + " norm " +
         std::to_string(static_cast<int>(p.norm)) + " nyquist " + std::to_string(p.nyquist) + " layout " +
         std::to_string(static_cast<int>(p.layout)) + " on " + simd_target();
}

// Frame-major gradients are the same numbers in both layouts.
Array gradient(const Tensor& x, const SpectrogramParams& params, const Placement& placement = {}) {
  SpectrogramParams frame_major = params;
  frame_major.layout = Layout::kFrameMajor;
  const Array values = Array(x.dtype, spectrogram_shape(x, frame_major)).randomize(71);
  Array result(x.dtype, spectrogram_shape(x, params), placement);
  const std::int64_t bins = values.tensor().size(-1), frames = values.tensor().size(-2);
  for (std::int64_t i = 0; i < values.numel(); ++i) {
    const std::int64_t k = i % bins, t = i / bins % frames, item = i / bins / frames;
    result.set(params.layout == Layout::kFrameMajor ? i : (item * bins + k) * frames + t, values.get(i));
  }
  return result;
}

BinGradients exact_gradients(const Array& grad, Layout layout) {
  const bool frame_major = layout == Layout::kFrameMajor;
  const std::int64_t bins = grad.tensor().size(frame_major ? -1 : -2),
                     frames = grad.tensor().size(frame_major ? -2 : -1);
  BinGradients result;
  for (std::int64_t i = 0; i < grad.numel(); ++i) {
    const std::int64_t k = i % bins, t = i / bins % frames, item = i / bins / frames;
    result.value.push_back(grad.get(frame_major ? i : (item * bins + k) * frames + t).real());
    result.error.push_back(0.0);
  }
  return result;
}

void run_and_check(const Tensor& x, const Tensor* window, const SpectrogramParams& params,
                   const Placement& placement = {}, const Placement& grad_placement = {}) {
  const Array grad = gradient(x, params, grad_placement);
  const Array out(x.dtype, x.shape, placement), want(DType::kFloat64, x.shape);
  spectrogram_backward(x, grad, window, params, out);
  out.expect_written_exactly(describe(x, params));
  spectrogram_backward_reference(x, copy_of(grad, DType::kFloat64), window, params, want);
  expect_gradients(out, want, backward_bounds(x, window, params, exact_gradients(grad, params.layout)),
                   describe(x, params));
}

class SpectrogramBackwardTest : public SimdTest {};
MELISMA_ON_EVERY_SIMD_TARGET(SpectrogramBackwardTest);

TEST_P(SpectrogramBackwardTest, EveryPromisedSize) {
  for (const std::int64_t n_fft : promised_sizes()) {
    SpectrogramParams params;
    params.frames.n_fft = n_fft;
    params.frames.hop_length = std::max<std::int64_t>(1, n_fft / 4);
    params.power = n_fft % 3 == 0 ? 1.0 : 2.0;
    const Window window("hann", n_fft);
    for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
      const Array x = Array(dtype, {std::max<std::int64_t>(n_fft + n_fft / 2, 5)}).randomize(31);
      run_and_check(x, window.get(), params);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(SpectrogramBackwardTest, PowersNormsAndLayouts) {
  for (const std::int64_t n_fft : {1, 2, 3, 4, 5, 16, 20, 67, 400}) {
    for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
      const Array x = Array(dtype, {2, n_fft + 100}).randomize(37);
      for (const double power : {0.5, 1.0, 1.7, 2.0, 3.0}) {
        for (const SpectrumNorm norm : {SpectrumNorm::kNone, SpectrumNorm::kFrameLength, SpectrumNorm::kWindow}) {
          for (const bool nyquist : {true, false}) {
            if (!nyquist && n_fft % 2 != 0) continue;
            for (const Layout layout : {Layout::kFrequencyMajor, Layout::kFrameMajor}) {
              SpectrogramParams params{{.n_fft = n_fft, .hop_length = n_fft / 3 + 1}, power, norm, nyquist, layout};
              params.frames.input_scale = nyquist ? 1.0 : 0.25;
              run_and_check(x, Window("hamming", n_fft).get(), params, nyquist ? Placement{} : Placement{{}, 2, 3, {1}},
                            norm == SpectrumNorm::kNone ? Placement{} : Placement{{0, 2, 1}, 1, 3, {}});
              if (HasFatalFailure()) return;
            }
          }
        }
      }
    }
  }
}

TEST_P(SpectrogramBackwardTest, PaddingAndFrames) {
  for (const std::int64_t n_fft : {1, 2, 5, 16, 31, 64, 400}) {
    for (const std::int64_t length : {n_fft / 2 + 1, n_fft, n_fft + 1, 3 * n_fft + 7}) {
      const Array x = Array(DType::kFloat32, {2, length}).randomize(39);
      for (int mode = -1; mode < 4; ++mode) {  // -1: center is false
        for (const std::int64_t hop : {std::int64_t{1}, n_fft / 3 + 1, n_fft, 2 * n_fft + 3}) {
          if (hop == 1 && n_fft > 100) continue;  // a long test for the reference
          for (const std::int64_t pad : {0, 3}) {
            SpectrogramParams params{.frames = {.n_fft = n_fft, .hop_length = hop, .pad = pad}};
            params.frames.win_length = n_fft - n_fft / 3;
            params.frames.center = mode >= 0;
            if (mode >= 0) params.frames.pad_mode = static_cast<PadMode>(mode);
            if (mode < 0 && length + 2 * pad < n_fft) continue;
            run_and_check(x, Window("hamming", params.frames.win_length).get(), params);
            if (HasFatalFailure()) return;
          }
        }
      }
      for (const double fractional : {0.0, 1.0, 7.3, 44.1, 1000.3}) {
        SpectrogramParams params{.frames = {.n_fft = n_fft, .hop_length = 37}, .power = 1.0};
        params.frames.pad_mode = PadMode::kConstant;
        params.frames.tail = FrameTail::kCovers;
        params.frames.fractional_hop = fractional;
        run_and_check(x, nullptr, params);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Frames that follow the window are those of a signal with zeros before it.
TEST_P(SpectrogramBackwardTest, FramesAlignedToTheWindow) {
  for (const std::int64_t n_fft : {16, 64, 400}) {
    const Array x = Array(DType::kFloat32, {2, 3 * n_fft}).randomize(39);
    SpectrogramParams aligned{.frames = {.n_fft = n_fft, .hop_length = n_fft / 3}};
    aligned.frames.win_length = n_fft - 6;
    aligned.frames.center = false;
    SpectrogramParams padded = aligned;
    aligned.frames.align_to_window = true;
    padded.frames.pad = 3;
    const Window window("hamming", n_fft - 6);
    const Array grad = gradient(x, aligned), got(DType::kFloat32, x.tensor().shape),
                want(DType::kFloat32, x.tensor().shape);
    spectrogram_backward(x, grad, window.get(), aligned, got);
    spectrogram_backward(x, grad, window.get(), padded, want);
    EXPECT_TRUE(same_bits(got, want)) << describe(x, aligned);
  }
}

// S is homogeneous of degree p: <dL/dx, x> = p <grad, S>, to rounding and whatever the parameters.
TEST_P(SpectrogramBackwardTest, EulersIdentity) {
  for (const std::int64_t n_fft : {1, 2, 3, 8, 15, 64, 240, 257}) {
    const Array x = Array(DType::kFloat64, {3, 2 * n_fft + 50}).randomize(73);
    for (const double power : {0.7, 1.0, 2.0, 4.0}) {
      for (int mode = -1; mode < 4; ++mode) {
        for (const SpectrumNorm norm : {SpectrumNorm::kNone, SpectrumNorm::kFrameLength, SpectrumNorm::kWindow}) {
          SpectrogramParams params{{.n_fft = n_fft, .hop_length = n_fft / 4 + 1}, power, norm};
          params.frames.center = mode >= 0;
          if (mode >= 0) params.frames.pad_mode = static_cast<PadMode>(mode);
          const Window window("hann", n_fft);
          const Array grad = gradient(x, params), y(DType::kFloat64, grad.tensor().shape),
                      out(DType::kFloat64, x.tensor().shape);
          spectrogram(x, window.get(), params, y);
          spectrogram_backward(x, grad, window.get(), params, out);
          const double size = std::sqrt(dot(grad, grad) * dot(y, y));
          EXPECT_NEAR(dot(out, x), power * dot(grad, y), 1e-13 * static_cast<double>(n_fft + 10) * size)
              << describe(x, params);
        }
      }
    }
  }
}

TEST(SpectrogramBackwardReference, IsTheSlope) {
  for (const std::int64_t n_fft : {1, 2, 5, 16, 31, 64}) {
    const Array x = Array(DType::kFloat64, {2, n_fft + 40}).randomize(79);
    const Array direction = Array(DType::kFloat64, {2, n_fft + 40}).randomize(83);
    for (const double power : {1.0, 1.5, 2.0, 3.0}) {
      for (int mode = 0; mode < 4; ++mode) {
        for (int variant = 0; variant < 4; ++variant) {
          SpectrogramParams params{{.n_fft = n_fft, .hop_length = n_fft / 3 + 1}, power};
          params.frames.pad_mode = static_cast<PadMode>(mode);
          params.frames.pad = variant;
          params.frames.input_scale = variant == 1 ? 0.5 : 1.0;
          params.norm = static_cast<SpectrumNorm>(variant % 3);
          params.nyquist = variant != 2 || n_fft % 2 != 0;
          params.layout = variant == 3 ? Layout::kFrameMajor : Layout::kFrequencyMajor;
          const Window window("hamming", n_fft);
          Array grad = gradient(x, params), y(DType::kFloat64, grad.tensor().shape);
          spectrogram_reference(x, window.get(), params, y);
          for (std::int64_t i = 0; i < y.numel(); ++i) {  // differences do not see the kink at 0
            if (y.get(i).real() < 0.01) grad.set(i, 0.0);
          }
          const Array out(DType::kFloat64, x.tensor().shape);
          spectrogram_backward_reference(x, grad, window.get(), params, out);
          const Slope slope = directional_slope(x, direction, grad, [&](const Array& at, const Array& to) {
            spectrogram_reference(at, window.get(), params, to);
          });
          EXPECT_NEAR(dot(out, direction), slope.value, 1e-7 * slope.scale) << describe(x, params);
        }
      }
    }
  }
}

TEST_P(SpectrogramBackwardTest, BatchThreadsAndStridesDoNotChangeBits) {
  for (const std::int64_t n_fft : {7, 20, 64, 400, 512, 1103}) {
    for (const double power : {1.0, 2.0}) {
      SpectrogramParams params{.frames = {.n_fft = n_fft, .hop_length = n_fft / 4 + 1}, .power = power};
      const Window window("hann", n_fft);
      const std::int64_t frames = 300;  // more than a task takes
      const Array x = Array(DType::kFloat32, {2, frames * params.frames.hop_length}).randomize(41);
      const Array grad = gradient(x, params, {{0, 2, 1}, 1, 0, {}}), want(DType::kFloat32, x.tensor().shape);
      {
        const Threads threads(1);
        spectrogram_backward(x, grad, window.get(), params, want);
      }
      for (const int n : {2, 3}) {
        const Threads threads(n);
        const Array got(DType::kFloat32, x.tensor().shape, {{1, 0}, 1, 2, {1}});
        spectrogram_backward(x, grad, window.get(), params, got);
        got.expect_written_exactly(describe(x, params));
        EXPECT_TRUE(same_bits(got, want)) << n << " threads, " << describe(x, params);
      }
      for (const Placement& place : {Placement{}, Placement{{1, 2, 0}, 1, 3, {}}, Placement{{0, 2, 1}, 3, 0, {2}},
                                     Placement{{0, 2, 1}, 1, 5, {0, 2}}}) {
        const Array strided = copy_of(grad, DType::kFloat32, place),
                    from = copy_of(x, DType::kFloat32, {{1, 0}, 2, 1, {0}}),
                    got(DType::kFloat32, x.tensor().shape, {{}, 2, 0, {}});
        spectrogram_backward(from, strided, window.get(), params, got);
        EXPECT_TRUE(same_bits(got, want)) << describe(x, params);
      }
      for (std::int64_t item = 0; item < 2; ++item) {
        const Array got(DType::kFloat32, {x.tensor().size(-1)});
        spectrogram_backward(item_view(x, item), item_view(grad, item), window.get(), params, got);
        for (std::int64_t i = 0; i < got.numel(); ++i)
          ASSERT_EQ(got.bytes_of(i), want.bytes_of(item * got.numel() + i)) << describe(x, params);
      }
    }
  }
}

TEST_P(SpectrogramBackwardTest, SilenceAndUnreachedSamplesAreZero) {
  for (const std::int64_t n_fft : {1, 5, 20, 64, 400}) {
    for (const double power : {0.3, 0.5, 1.0, 1.5, 2.0, 3.0}) {
      for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
        Array x(dtype, {7 * n_fft});
        for (std::int64_t i = 0; i < x.numel(); ++i) x.set(i, 0.0);
        const SpectrogramParams params{.frames = {.n_fft = n_fft, .hop_length = 3 * n_fft, .center = false},
                                       .power = power};
        const Array grad = gradient(x, params), out(dtype, x.tensor().shape);
        spectrogram_backward(x, grad, nullptr, params, out);
        for (std::int64_t i = 0; i < out.numel(); ++i) ASSERT_EQ(out.get(i).real(), 0.0) << describe(x, params);

        x.randomize_in_place(89);
        const Array loud(dtype, x.tensor().shape);
        spectrogram_backward(x, grad, nullptr, params, loud);
        for (std::int64_t i = 0; i < loud.numel(); ++i) {
          if (i % (3 * n_fft) >= n_fft) {
            ASSERT_EQ(loud.get(i).real(), 0.0) << describe(x, params) << " sample " << i;
          }
        }
      }
    }
  }
}

// Squares below the smallest normal number, where 1 / |X| would be infinite or all rounding.
TEST_P(SpectrogramBackwardTest, TinySignalsGiveFiniteGradients) {
  for (const double power : {0.3, 1.0, 1.5}) {
    for (const double size : {1e-18, 1e-20, 1e-22, 1e-23, 1e-30, 1e-45}) {
      Array x = Array(DType::kFloat32, {3000}).randomize(97);
      for (std::int64_t i = 0; i < x.numel(); ++i) x.set(i, x.get(i) * size);
      const SpectrogramParams params{.frames = {.n_fft = 400, .hop_length = 160}, .power = power};
      const Array grad = gradient(x, params), out(DType::kFloat32, x.tensor().shape);
      spectrogram_backward(x, grad, nullptr, params, out);
      for (std::int64_t i = 0; i < out.numel(); ++i) ASSERT_TRUE(std::isfinite(out.get(i).real())) << size;
    }
  }
}

TEST_P(SpectrogramBackwardTest, FramesDoNotLeakIntoEachOther) {
  for (const std::int64_t n_fft : {16, 20, 400, 1103}) {
    for (const double power : {1.0, 2.0}) {
      const SpectrogramParams params{.frames = {.n_fft = n_fft, .hop_length = n_fft, .center = false}, .power = power};
      Array x = Array(DType::kFloat32, {20 * n_fft}).randomize(101);
      for (std::int64_t i = 3 * n_fft; i < 4 * n_fft; ++i) x.set(i, std::numeric_limits<double>::quiet_NaN());
      const Array grad = gradient(x, params), out(DType::kFloat32, x.tensor().shape);
      spectrogram_backward(x, grad, nullptr, params, out);
      for (std::int64_t i = 0; i < out.numel(); ++i) {
        ASSERT_EQ(std::isnan(out.get(i).real()), i / n_fft == 3) << n_fft << " sample " << i;
      }
    }
  }
}

TEST(SpectrogramBackward, NoItems) {
  const Array x(DType::kFloat32, {0, 500}), grad(DType::kFloat32, {0, 33, 32}), out(DType::kFloat32, {0, 500});
  spectrogram_backward(x, grad, nullptr, {.frames = {.n_fft = 64, .hop_length = 16}}, out);
  EXPECT_TRUE(out.untouched());
}

TEST(SpectrogramBackwardErrors, NameOperatorArgumentAndValue) {
  const char* op = "spectrogram_backward";
  const Array x = Array(DType::kFloat32, {1000}).randomize();
  const SpectrogramParams good{.frames = {.n_fft = 401, .hop_length = 160}};
  const Array grad = gradient(x, good), out(DType::kFloat32, {1000});
  const auto bad = [&](const std::vector<std::string>& parts, auto change) {
    SpectrogramParams params = good;
    change(params);
    expect_error(ErrorKind::kInvalidArgument, op, parts, [&] { spectrogram_backward(x, grad, nullptr, params, out); });
  };
  bad({"power", "0"}, [](SpectrogramParams& p) { p.power = 0.0; });
  bad({"nyquist", "401"}, [](SpectrogramParams& p) { p.nyquist = false; });
  bad({"n_fft", "0"}, [](SpectrogramParams& p) { p.frames.n_fft = 0; });
  bad({"grad", "[7, 201]", "[201, 7]"}, [](SpectrogramParams& p) { p.layout = Layout::kFrameMajor; });
  bad({"grad", "[201, 10]"}, [](SpectrogramParams& p) { p.frames.hop_length = 100; });
  const auto with = [&](const Array& input, const Array& g, const Array& result) {
    return [&] { spectrogram_backward(input, g, nullptr, good, result); };
  };
  const Array pcm(DType::kInt16, {1000}), wide(DType::kFloat64, {1000}), wide_grad(DType::kFloat64, {201, 7}),
      complex(DType::kComplex64, {1000}), shorter(DType::kFloat32, {999});
  expect_error(ErrorKind::kInvalidType, op, {"input", "int16"}, with(pcm, grad, out));
  expect_error(ErrorKind::kInvalidType, op, {"input", "complex64"}, with(complex, grad, out));
  expect_error(ErrorKind::kInvalidType, op, {"grad", "float32", "float64"}, with(x, wide_grad, out));
  expect_error(ErrorKind::kInvalidType, op, {"out", "float32", "float64"}, with(x, grad, wide));
  expect_error(ErrorKind::kInvalidArgument, op, {"out", "[1000]", "[999]"}, with(x, grad, shorter));
  const Window short_window("hann", 400);
  expect_error(ErrorKind::kInvalidArgument, op, {"window", "400", "401"},
               [&] { spectrogram_backward(x, grad, short_window.get(), good, out); });
  const std::vector<float> zeros(401, 0.0f);
  const Tensor zero_window(const_cast<float*>(zeros.data()), DType::kFloat32, {401});
  SpectrogramParams normed = good;
  normed.norm = SpectrumNorm::kWindow;
  expect_error(ErrorKind::kInvalidArgument, op, {"window"},
               [&] { spectrogram_backward(x, grad, &zero_window, normed, out); });
  EXPECT_TRUE(out.untouched());
}

}  // namespace
}  // namespace melisma
