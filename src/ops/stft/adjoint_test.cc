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

std::string describe(const Tensor& x, const StftParams& p) {
  const FrameParams& f = p.frames;
  return std::string(dtype_name(x.dtype)) + " length " + std::to_string(x.size(-1)) + " n_fft " +
         std::to_string(f.n_fft) + " hop " + std::to_string(f.hop_length) + " win " + std::to_string(f.win_length) +
         " center " + std::to_string(f.center) + " mode " + std::to_string(static_cast<int>(f.pad_mode)) + " pad " +
         std::to_string(f.pad) + " align " + std::to_string(f.align_to_window) + " tail " +
         std::to_string(static_cast<int>(f.tail)) + " fractional " + std::to_string(f.fractional_hop) + " normalized " +
         std::to_string(p.normalized) + " onesided " + std::to_string(p.onesided) + " nyquist " +
         std::to_string(p.nyquist) + " layout " + std::to_string(static_cast<int>(p.layout)) + " on " + simd_target();
}

Tensor shape_of(DType dtype, const Shape& shape) { return Tensor(nullptr, dtype, shape); }

DType double_of(DType dtype) { return is_complex(dtype) ? DType::kComplex128 : DType::kFloat64; }

// How much of every frame's error reaches a sample: what the adjoint makes of frames of ones, which are spectra with
// ones in every bin of DC only, with |window|.
std::vector<double> weight_per_sample(DType dtype, const Shape& shape, const Window& window, const StftParams& params) {
  const std::int64_t win = params.frames.win_length == 0 ? params.frames.n_fft : params.frames.win_length;
  std::vector<double> magnitude(static_cast<std::size_t>(win), 1.0);
  for (std::int64_t i = 0; i < win && window.get() != nullptr; ++i)
    magnitude[static_cast<std::size_t>(i)] = std::abs(static_cast<double>(window.values[static_cast<std::size_t>(i)]));
  const Tensor w(magnitude.data(), DType::kFloat64, {win});
  StftParams frame_major = params;
  frame_major.layout = Layout::kFrameMajor;
  frame_major.frames.input_scale = std::abs(params.frames.input_scale);
  Array ones(DType::kComplex128, stft_shape(shape_of(dtype, shape), frame_major));
  const std::int64_t bins = ones.tensor().size(-1);
  for (std::int64_t i = 0; i < ones.numel(); ++i) ones.set(i, i % bins == 0 ? 1.0 : 0.0);
  const Array sums(double_of(dtype), shape);
  stft_adjoint_reference(ones, &w, frame_major, sums);
  std::vector<double> result;
  for (std::int64_t i = 0; i < sums.numel(); ++i) result.push_back(sums.get(i).real());
  return result;
}

// The dtype of a gradient with respect to an x of this dtype, uniform in the square of side 2.
Array gradient(DType dtype, const Shape& shape, const StftParams& params) {
  return Array(complex_of(dtype), stft_shape(shape_of(dtype, shape), params)).randomize(31);
}

void expect_matches_reference(const Tensor& grad, const Window& window, const StftParams& params, const Array& out) {
  const DType dtype = out.tensor().dtype;
  const Array want(double_of(dtype), out.tensor().shape);
  stft_adjoint_reference(grad, window.get(), params, want);
  const std::vector<double> weight = weight_per_sample(dtype, out.tensor().shape, window, params);
  const double n_fft = static_cast<double>(params.frames.n_fft), eps = unit(dtype);
  // No frame's norm exceeds sqrt(2 n_fft) (folded: twice that), and its transform, n_fft times an inverse one, has
  // errors relative to sqrt(n_fft) times its norm over sqrt(n_fft), that is to the norm.
  const double norm = (params.onesided ? 1.0 : 2.0) * std::sqrt(2.0 * n_fft);
  for (std::int64_t i = 0; i < want.numel(); ++i) {
    const double allowed = weight[static_cast<std::size_t>(i)] * norm * transform_error(params.frames.n_fft, eps) +
                           8 * eps * std::abs(want.get(i));
    ASSERT_LE(std::abs(out.get(i) - want.get(i)), allowed) << describe(out, params) << ", sample " << i;
  }
}

void run_and_check(DType dtype, const Shape& shape, const Window& window, const StftParams& params) {
  const Array grad = gradient(dtype, shape, params), out(dtype, shape);
  stft_adjoint(grad, window.get(), params, out);
  out.expect_written_exactly(describe(out, params));
  expect_matches_reference(grad, window, params, out);
}

double inner(const Array& a, const Array& b) {
  double sum = 0.0;
  for (std::int64_t i = 0; i < a.numel(); ++i) sum += (std::conj(a.get(i)) * b.get(i)).real();
  return sum;
}
double norm(const Array& a) { return std::sqrt(inner(a, a)); }

// <G, S x> = <S* G, x>, and = <dw, w>, in float64: S x is linear in x and in the window.
void expect_adjoint(DType dtype, const Shape& shape, const Window& window, const StftParams& params) {
  const Array x = Array(dtype, shape).randomize(37);
  const Array grad = gradient(dtype, shape, params), spectrum(complex_of(dtype), grad.tensor().shape),
              back(dtype, shape);
  stft(x, window.get(), params, spectrum);
  stft_adjoint(grad, window.get(), params, back);
  const double forward = inner(grad, spectrum), scale = norm(grad) * norm(spectrum);
  const double allowed = 64 * unit(dtype) * (scale + norm(back) * norm(x));
  ASSERT_NEAR(forward, inner(back, x), allowed) << describe(x, params);
  const std::int64_t win = params.frames.win_length == 0 ? params.frames.n_fft : params.frames.win_length;
  const Array slope(DType::kFloat64, {win});
  stft_window_gradient(x, grad, params, slope);
  double sum = 0.0;
  for (std::int64_t i = 0; i < win; ++i) {
    const double w = window.get() == nullptr ? 1.0 : static_cast<double>(window.values[static_cast<std::size_t>(i)]);
    sum += w * slope.get(i).real();
  }
  ASSERT_NEAR(forward, sum, allowed + 64 * unit(dtype) * norm(slope) * std::sqrt(static_cast<double>(win)))
      << describe(x, params);
}

// Every combination of padding, tail and scale that a small signal allows.
template <class F>
void for_all_params(std::int64_t n_fft, std::int64_t length, std::int64_t hop, const F& check) {
  for (const bool complex_input : {false, true}) {
    for (int sides = complex_input ? 2 : 0; sides < 3; ++sides) {  // one, one without Nyquist, two
      if (sides == 1 && n_fft % 2 != 0) continue;
      for (int mode = -3; mode < 4; ++mode) {
        for (const std::int64_t pad : {0, 3}) {
          StftParams p{.frames = {.n_fft = n_fft, .hop_length = hop, .win_length = n_fft - n_fft / 3, .pad = pad},
                       .normalized = (mode + sides) % 2 == 0,
                       .onesided = sides < 2,
                       .nyquist = sides != 1,
                       .layout = mode % 2 == 0 ? Layout::kFrequencyMajor : Layout::kFrameMajor};
          p.frames.center = mode >= 0;
          if (mode >= 0) p.frames.pad_mode = static_cast<PadMode>(mode);
          if (mode == -2) p.frames.align_to_window = true;
          if (mode == -3) {
            p.frames.center = pad == 0;
            p.frames.pad_mode = PadMode::kConstant;
            p.frames.tail = FrameTail::kCovers;
            p.frames.fractional_hop = sides == 0 ? static_cast<double>(hop) + 0.3 : 0.0;
            p.frames.input_scale = 0.25;
          }
          const std::int64_t padded = length + 2 * pad;
          if (mode == 1 && n_fft / 2 >= padded) continue;              // reflect
          if (mode == 3 && n_fft / 2 > padded) continue;               // circular
          if ((mode == -1 || mode == -2) && padded < n_fft) continue;  // whole frames only
          check(complex_input, p);
          if (::testing::Test::HasFatalFailure()) return;
        }
      }
    }
  }
}

class StftAdjointTest : public SimdTest {};
MELISMA_ON_EVERY_SIMD_TARGET(StftAdjointTest);

TEST_P(StftAdjointTest, EveryPromisedSize) {
  for (const std::int64_t n_fft : promised_sizes()) {
    const Window window("hann", n_fft);
    const std::int64_t length = std::max<std::int64_t>(n_fft + n_fft / 2, 5);
    for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kComplex64, DType::kComplex128}) {
      for (const bool onesided : {true, false}) {
        if ((onesided && is_complex(dtype)) || (!onesided && n_fft > 4096)) continue;
        StftParams params{.frames = {.n_fft = n_fft, .hop_length = std::max<std::int64_t>(1, n_fft / 4)},
                          .onesided = onesided};
        run_and_check(dtype, {length}, window, params);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(StftAdjointTest, EveryModeAgainstTheReference) {
  for (const std::int64_t n_fft : {1, 2, 3, 4, 5, 8, 15, 16, 20, 31, 64, 100, 512}) {
    for (const std::int64_t length : {std::int64_t{1}, n_fft / 2 + 1, n_fft + 37}) {
      for_all_params(n_fft, length, n_fft / 3 + 1, [&](bool complex_input, const StftParams& params) {
        const Window window("hamming", params.frames.win_length);
        run_and_check(complex_input ? DType::kComplex64 : DType::kFloat32, {2, length}, window, params);
      });
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(StftAdjointTest, InnerProductsAgree) {
  for (const std::int64_t n_fft : {1, 2, 3, 4, 5, 7, 16, 20, 64, 101, 256}) {
    for (const std::int64_t hop : {std::int64_t{1}, n_fft / 4 + 1, n_fft, n_fft + 3, 5 * n_fft + 1}) {
      for (const std::int64_t length : {n_fft / 2 + 1, 3 * n_fft + 11}) {
        for_all_params(n_fft, length, hop, [&](bool complex_input, const StftParams& params) {
          const Window window("hamming", params.frames.win_length);
          expect_adjoint(complex_input ? DType::kComplex128 : DType::kFloat64, {2, length}, window, params);
          if (length == n_fft / 2 + 1)
            expect_adjoint(complex_input ? DType::kComplex64 : DType::kFloat32, {length}, window, params);
        });
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(StftAdjointTest, SamplesThatNoFrameReachesAreZero) {
  for (const std::int64_t n_fft : {5, 16, 64, 512}) {
    const std::int64_t hop = 2 * n_fft + 3, length = 7 * hop + n_fft + hop / 2;
    const StftParams params{.frames = {.n_fft = n_fft, .hop_length = hop, .center = false}};
    const Array grad = gradient(DType::kFloat32, {length}, params);
    for (const int n : {1, 2}) {
      const Threads threads(n);
      const Array out(DType::kFloat32, {length});
      stft_adjoint(grad, nullptr, params, out);
      for (std::int64_t i = 0; i < length; ++i)
        ASSERT_EQ(out.get(i).real() == 0.0, i % hop >= n_fft) << n_fft << " sample " << i;
    }
  }
}

TEST_P(StftAdjointTest, BatchThreadsAndStridesDoNotChangeBits) {
  for (const std::int64_t n_fft : {17, 64, 100, 512}) {
    for (const PadMode mode : {PadMode::kReflect, PadMode::kReplicate, PadMode::kCircular, PadMode::kConstant}) {
      for (const std::int64_t hop : {n_fft / 4, n_fft + 7}) {
        // More frames than a task takes; with the short hop, a task is shorter than the padding is long.
        const std::int64_t length = 300 * hop + 5;
        const StftParams params{.frames = {.n_fft = n_fft, .hop_length = hop, .pad_mode = mode},
                                .nyquist = n_fft % 2 != 0 || hop < n_fft};
        const Window window("hann", n_fft);
        const Shape shape{3, length};
        const Array grad = gradient(DType::kFloat32, shape, params), one(DType::kFloat32, shape);
        {
          const Threads threads(1);
          stft_adjoint(grad, window.get(), params, one);
        }
        one.expect_written_exactly(describe(one, params));
        for (const int n : {2, 3}) {
          const Threads threads(n);
          const Array many(DType::kFloat32, shape);
          stft_adjoint(grad, window.get(), params, many);
          EXPECT_TRUE(same_bits(one, many)) << n << " threads, " << describe(one, params);
        }
        for (std::int64_t item = 0; item < 3; ++item) {
          const Array got(DType::kFloat32, {length});
          stft_adjoint(item_view(grad, item), window.get(), params, got);
          for (std::int64_t i = 0; i < length; ++i)
            ASSERT_EQ(got.bytes_of(i), one.bytes_of(item * length + i)) << describe(one, params);
        }
        for (const Placement& place :
             {Placement{{0, 2, 1}, 1, 0, {}}, Placement{{1, 2, 0}, 1, 0, {1}}, Placement{{}, 3, 2, {0, 2}}}) {
          const Array strided = copy_of(grad, DType::kComplex64, place), got(DType::kFloat32, shape);
          stft_adjoint(strided, window.get(), params, got);
          EXPECT_TRUE(same_bits(got, one)) << describe(one, params);
        }
        for (const Placement& place :
             {Placement{{}, 2, 0, {}}, Placement{{1, 0}, 1, 0, {}}, Placement{{}, 1, 3, {1}}}) {
          const Array got(DType::kFloat32, shape, place);
          stft_adjoint(grad, window.get(), params, got);
          got.expect_written_exactly(describe(one, params));
          EXPECT_TRUE(same_bits(got, one)) << describe(one, params);
        }
      }
    }
  }
}

TEST_P(StftAdjointTest, ThreadsDoNotChangeBitsWhereTasksAreShort) {
  // 128 frames of hop 1 are fewer samples than the padding has: copies of one task's samples lie in another's frames.
  for (const PadMode mode : {PadMode::kReflect, PadMode::kReplicate, PadMode::kCircular}) {
    for (const bool complex_input : {false, true}) {
      const DType dtype = complex_input ? DType::kComplex64 : DType::kFloat32;
      const StftParams params{.frames = {.n_fft = 300, .hop_length = 1, .pad_mode = mode}, .onesided = !complex_input};
      const Shape shape{2, 400};
      const Array grad = gradient(dtype, shape, params), one(dtype, shape), many(dtype, shape);
      {
        const Threads threads(1);
        stft_adjoint(grad, nullptr, params, one);
      }
      const Threads threads(2);
      stft_adjoint(grad, nullptr, params, many);
      EXPECT_TRUE(same_bits(one, many)) << describe(one, params);
      expect_matches_reference(grad, Window("", 300), params, one);
    }
  }
}

TEST_P(StftAdjointTest, ThreadsDoNotChangeBitsWithFractionalHops) {
  for (const std::int64_t n_fft : {16, 20, 64}) {
    for (const double hop : {1.0, 2.7, 44.1, 100.3}) {  // tasks that begin inside frames and between them
      StftParams params{.frames = {.n_fft = n_fft, .pad_mode = PadMode::kConstant, .tail = FrameTail::kCovers}};
      params.frames.fractional_hop = hop;
      const Shape shape{2, static_cast<std::int64_t>(500 * hop) + 7};
      const Array grad = gradient(DType::kFloat32, shape, params);
      const Array one(DType::kFloat32, shape), many(DType::kFloat32, shape);
      {
        const Threads threads(1);
        stft_adjoint(grad, nullptr, params, one);
      }
      expect_matches_reference(grad, Window("", n_fft), params, one);
      const Threads threads(2);
      stft_adjoint(grad, nullptr, params, many);
      many.expect_written_exactly(describe(many, params));
      EXPECT_TRUE(same_bits(one, many)) << describe(one, params);
    }
  }
}

TEST_P(StftAdjointTest, ImaginaryPartsOfDcAndNyquistAreNotRead) {
  for (const std::int64_t n_fft : {2, 5, 16, 20, 64, 512, 1103}) {
    const StftParams params{.frames = {.n_fft = n_fft, .hop_length = n_fft / 4 + 1}, .layout = Layout::kFrameMajor};
    const Shape shape{3 * n_fft};
    Array grad = gradient(DType::kFloat32, shape, params);
    const Array noisy(DType::kFloat32, shape), clean(DType::kFloat32, shape);
    stft_adjoint(grad, nullptr, params, noisy);
    const std::int64_t bins = n_fft / 2 + 1;
    for (std::int64_t i = 0; i < grad.numel(); ++i) {
      const std::int64_t k = i % bins;
      if (k == 0 || 2 * k == n_fft) grad.set(i, grad.get(i).real());
    }
    stft_adjoint(grad, nullptr, params, clean);
    EXPECT_TRUE(same_bits(noisy, clean)) << n_fft;
  }
}

TEST_P(StftAdjointTest, WindowGradientAgainstTheReference) {
  for (const std::int64_t n_fft : {1, 2, 5, 16, 20, 64, 100, 512, 1103}) {
    for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kComplex64, DType::kComplex128, DType::kInt16}) {
      for (const bool onesided : {true, false}) {
        if (onesided && is_complex(dtype)) continue;
        const StftParams params{.frames = {.n_fft = n_fft,
                                           .hop_length = n_fft / 4 + 1,
                                           .win_length = n_fft - n_fft / 5,
                                           .input_scale = dtype == DType::kInt16 ? 1.0 / 32768 : 0.5},
                                .normalized = true,
                                .onesided = onesided};
        const Array x = Array(dtype, {2, 2 * n_fft + 3}).randomize(41);
        const Array grad = gradient(dtype, x.tensor().shape, params);
        const Array want(DType::kFloat64, {params.frames.win_length});
        stft_window_gradient_reference(x, grad, params, want);
        const double eps = unit(dtype), frames = static_cast<double>(grad.numel());
        // Each frame's transform has errors relative to its norm, at most sqrt(2) (folded: twice) times sqrt(n_fft /
        // n_fft) with the scale 1 / sqrt(n_fft), times samples below sqrt(2); errors of frames and items add up.
        const double count = frames / static_cast<double>(grad.tensor().size(-2));
        const double allowed = 2.0 * 2.0 * std::sqrt(2.0) * count * transform_error(n_fft, eps);
        for (const DType result : {DType::kFloat32, DType::kFloat64}) {
          const Array out(result, {params.frames.win_length}, {{}, 2, 0, {0}});
          stft_window_gradient(x, grad, params, out);
          out.expect_written_exactly(describe(x, params));
          for (std::int64_t i = 0; i < want.numel(); ++i) {
            const double rounding = unit(result) * std::abs(want.get(i));
            ASSERT_LE(std::abs(out.get(i) - want.get(i)), allowed + rounding) << describe(x, params) << ", " << i;
          }
        }
      }
    }
  }
}

TEST_P(StftAdjointTest, ThreadsDoNotChangeBitsOfWindowGradients) {
  for (const std::int64_t n_fft : {20, 64, 512}) {
    const StftParams params{.frames = {.n_fft = n_fft, .hop_length = n_fft / 4}};
    const Array x = Array(DType::kFloat32, {67, 200 * n_fft / 4}).randomize(43);  // more blocks than sums
    const Array grad = gradient(DType::kFloat32, x.tensor().shape, params);
    const Array one(DType::kFloat64, {n_fft}), many(DType::kFloat64, {n_fft});
    {
      const Threads threads(1);
      stft_window_gradient(x, grad, params, one);
    }
    const Threads threads(2);
    stft_window_gradient(x, grad, params, many);
    EXPECT_TRUE(same_bits(one, many)) << n_fft;
  }
}

TEST(StftAdjointEmpty, NoItems) {
  const StftParams params{.frames = {.n_fft = 16, .hop_length = 4}};
  const Array none(DType::kFloat32, {0, 100}), grad(DType::kComplex64, stft_shape(none, params));
  stft_adjoint(grad, nullptr, params, none);
  EXPECT_TRUE(none.untouched());
  const Array slope(DType::kFloat32, {16});
  stft_window_gradient(none, grad, params, slope);
  for (std::int64_t i = 0; i < 16; ++i) EXPECT_EQ(slope.get(i), 0.0);
}

TEST(StftAdjointErrors, NameOperatorArgumentAndValue) {
  constexpr ErrorKind kArgument = ErrorKind::kInvalidArgument, kType = ErrorKind::kInvalidType;
  const StftParams good{.frames = {.n_fft = 400, .hop_length = 160}};
  const Array x(DType::kFloat32, {2, 1000}), grad(DType::kComplex64, {2, 201, 7}), slope(DType::kFloat32, {400});
  const auto adjoint = [&](const Array& g, const Array& out, const StftParams& p = StftParams{}) {
    return [&, p] { stft_adjoint(g, nullptr, p.frames.n_fft == 0 ? good : p, out); };
  };
  expect_error(kType, "stft_adjoint", {"out", "int16"}, adjoint(grad, Array(DType::kInt16, {2, 1000})));
  expect_error(kType, "stft_adjoint", {"grad", "complex128", "complex64"},
               adjoint(grad, Array(DType::kFloat64, {2, 1000})));
  expect_error(kType, "stft_adjoint", {"grad", "complex64", "float32"},
               adjoint(Array(DType::kFloat32, {2, 201, 7}), x));
  expect_error(kArgument, "stft_adjoint", {"grad", "[2, 201, 7]", "[2, 201, 8]"},
               adjoint(Array(DType::kComplex64, {2, 201, 8}), x));
  expect_error(kArgument, "stft_adjoint", {"onesided"}, adjoint(grad, Array(DType::kComplex64, {2, 1000})));
  expect_error(kArgument, "stft_adjoint", {"hop_length", "-1"},
               adjoint(grad, x, {.frames = {.n_fft = 400, .hop_length = -1}}));
  const Window window("hann", 300);
  expect_error(kArgument, "stft_adjoint", {"window", "400", "300"}, [&] { stft_adjoint(grad, window.get(), good, x); });
  EXPECT_TRUE(x.untouched());

  const auto slopes = [&](const Array& g, const Array& out) { return [&] { stft_window_gradient(x, g, good, out); }; };
  expect_error(kType, "stft_window_gradient", {"grad", "complex64", "complex128"},
               slopes(Array(DType::kComplex128, {2, 201, 7}), slope));
  expect_error(kArgument, "stft_window_gradient", {"grad", "[2, 201, 7]", "[2, 201]"},
               slopes(Array(DType::kComplex64, {2, 201}), slope));
  expect_error(kType, "stft_window_gradient", {"out", "complex64"}, slopes(grad, Array(DType::kComplex64, {400})));
  expect_error(kArgument, "stft_window_gradient", {"out", "[400]", "[401]"},
               slopes(grad, Array(DType::kFloat32, {401})));
  EXPECT_TRUE(slope.untouched());
}

}  // namespace
}  // namespace melisma
