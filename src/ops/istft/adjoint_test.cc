#include <algorithm>
#include <cmath>
#include <limits>

#include "melisma/istft.h"
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

Shape spectrum_shape(std::int64_t items, std::int64_t frames, const IstftParams& p) {
  const std::int64_t bins = p.onesided ? p.n_fft / 2 + 1 : p.n_fft;
  return p.layout == Layout::kFrameMajor ? Shape{items, frames, bins} : Shape{items, bins, frames};
}

Array gradient(DType spec, const Shape& shape, const IstftParams& params, bool complex_result) {
  const Shape samples = istft_shape(Tensor(nullptr, spec, shape), params);
  return Array(complex_result ? spec : real_of(spec), samples).randomize(47);
}

// Each frame within the error that its own norm allows.
void expect_matches_reference(const Array& grad, const Window& window, const IstftParams& params, const Array& out) {
  const Array want(DType::kComplex128, out.tensor().shape);
  istft_adjoint_reference(grad, window.get(), params, want);
  const bool frame_major = params.layout == Layout::kFrameMajor;
  const std::int64_t frames = out.tensor().size(frame_major ? -2 : -1), bins = out.tensor().size(frame_major ? -1 : -2);
  const double eps = unit(out.tensor().dtype);
  for (std::int64_t row = 0; row < out.numel() / bins; ++row) {
    const std::int64_t item = row / frames, t = row % frames;
    const auto at = [&](std::int64_t k) { return frame_major ? row * bins + k : (item * bins + k) * frames + t; };
    double energy = 0.0;  // all of it: bins above n_fft / 2 may not be there
    for (std::int64_t k = 0; k < bins; ++k) energy += std::norm(want.get(at(k)));
    const double norm = std::sqrt(2.0 * energy / static_cast<double>(params.n_fft));
    for (std::int64_t k = 0; k < bins; ++k) {
      const std::complex<double> exact = want.get(at(k));
      const double allowed = norm * transform_error(params.n_fft, eps) + peak_error(std::abs(exact), eps);
      ASSERT_LE(std::abs(out.get(at(k)) - exact), allowed)
          << describe(out, params) << ", row " << row << " bin " << k << ", norm " << norm;
      if (is_complex(grad.tensor().dtype)) continue;
      const bool edge = k == 0 || 2 * k == params.n_fft, above = 2 * k > params.n_fft;
      ASSERT_TRUE(!edge || out.get(at(k)).imag() == 0.0) << describe(out, params) << ", bin " << k;
      ASSERT_TRUE(!above || out.get(at(k)) == 0.0) << describe(out, params) << ", bin " << k;
    }
  }
}

void run_and_check(DType spec, const Shape& shape, const Window& window, const IstftParams& params,
                   bool complex_result = false) {
  const Array grad = gradient(spec, shape, params, complex_result), out(spec, shape);
  istft_adjoint(grad, window.get(), params, out);
  out.expect_written_exactly(describe(out, params));
  expect_matches_reference(grad, window, params, out);
}

double inner(const Array& a, const Array& b) {
  double sum = 0.0;
  for (std::int64_t i = 0; i < a.numel(); ++i) sum += (std::conj(a.get(i)) * b.get(i)).real();
  return sum;
}
double norm(const Array& a) { return std::sqrt(inner(a, a)); }

// <g, I X> = <I* g, X>
void expect_adjoint(DType dtype, const Shape& shape, const Window& window, const IstftParams& params,
                    bool complex_result) {
  const Array spec = Array(dtype, shape).randomize(53), back(dtype, shape);
  const Array grad = gradient(dtype, shape, params, complex_result);
  const Array samples(grad.tensor().dtype, grad.tensor().shape);
  istft(spec, window.get(), params, samples);
  istft_adjoint(grad, window.get(), params, back);
  const double allowed = 64 * unit(dtype) * (norm(grad) * norm(samples) + norm(back) * norm(spec));
  ASSERT_NEAR(inner(grad, samples), inner(back, spec), allowed) << describe(spec, params);
}

template <class F>
void for_all_params(std::int64_t n_fft, std::int64_t hop, std::int64_t frames, const F& check) {
  for (const bool center : {true, false}) {
    const std::int64_t full = n_fft + hop * (frames - 1) - (center ? n_fft / 2 * 2 : 0);
    for (const std::int64_t length :
         {std::int64_t{-1}, std::int64_t{0}, std::int64_t{1}, full / 2, full + 1, full + n_fft + 50}) {
      if (length < 0 && full < 1) continue;
      for (const EdgePolicy edge : {EdgePolicy::kZero, EdgePolicy::kClamp}) {
        for (int sides = 0; sides < 3; ++sides) {  // one, two for a real result, two for a complex one
          const Layout layout = (sides + length) % 2 == 0 ? Layout::kFrequencyMajor : Layout::kFrameMajor;
          check(IstftParams{n_fft, hop, n_fft - n_fft / 4, center, length % 2 == 0, sides == 0, length, edge, layout},
                sides == 2);
          if (::testing::Test::HasFatalFailure()) return;
        }
      }
    }
  }
}

class IstftAdjointTest : public SimdTest {};
MELISMA_ON_EVERY_SIMD_TARGET(IstftAdjointTest);

TEST_P(IstftAdjointTest, EveryPromisedSize) {
  for (const std::int64_t n_fft : promised_sizes()) {
    IstftParams params{.n_fft = n_fft, .hop_length = std::max<std::int64_t>(1, n_fft / 4), .edge = EdgePolicy::kZero};
    const Window window("hann", n_fft);
    for (const DType dtype : {DType::kComplex64, DType::kComplex128}) {
      params.onesided = true;
      run_and_check(dtype, spectrum_shape(1, 6, params), window, params);
      if (n_fft <= 2048) {
        params.onesided = false;
        run_and_check(dtype, spectrum_shape(1, 6, params), window, params);
        run_and_check(dtype, spectrum_shape(1, 6, params), window, params, true);
      }
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(IstftAdjointTest, EveryModeLengthAndPolicyAgainstTheReference) {
  for (const std::int64_t n_fft : {1, 2, 3, 4, 5, 7, 16, 20, 31, 64, 100, 512}) {
    for (const std::int64_t hop : {std::int64_t{1}, n_fft / 4 + 1, n_fft, n_fft + 3}) {
      for (const std::int64_t frames : {1, 2, 5, 18}) {
        for_all_params(n_fft, hop, frames, [&](const IstftParams& params, bool complex_result) {
          const Window window("hann", params.win_length);
          run_and_check(DType::kComplex64, spectrum_shape(1, frames, params), window, params, complex_result);
        });
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(IstftAdjointTest, InnerProductsAgree) {
  for (const std::int64_t n_fft : {1, 2, 3, 4, 5, 7, 16, 20, 64, 101, 256}) {
    for (const std::int64_t hop : {std::int64_t{1}, n_fft / 4 + 1, n_fft, n_fft + 3}) {
      for (const std::int64_t frames : {1, 2, 9}) {
        for_all_params(n_fft, hop, frames, [&](const IstftParams& params, bool complex_result) {
          const Window window("hamming", params.win_length);
          expect_adjoint(DType::kComplex128, spectrum_shape(2, frames, params), window, params, complex_result);
          expect_adjoint(DType::kComplex64, spectrum_shape(1, frames, params), window, params, complex_result);
        });
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(IstftAdjointTest, BatchThreadsAndStridesDoNotChangeBits) {
  for (const std::int64_t n_fft : {17, 20, 64, 400, 512, 1024}) {
    for (const std::int64_t hop : {n_fft / 4, n_fft + 7}) {
      const IstftParams params{.n_fft = n_fft, .hop_length = hop, .edge = EdgePolicy::kZero};
      const Window window("hann", n_fft);
      const Shape shape = spectrum_shape(3, 301, params);
      const Array grad = gradient(DType::kComplex64, shape, params, false), one(DType::kComplex64, shape);
      {
        const Threads threads(1);
        istft_adjoint(grad, window.get(), params, one);
      }
      one.expect_written_exactly(describe(one, params));
      for (const int n : {2, 3}) {
        const Threads threads(n);
        const Array many(DType::kComplex64, shape);
        istft_adjoint(grad, window.get(), params, many);
        EXPECT_TRUE(same_bits(one, many)) << n << " threads, " << describe(one, params);
      }
      const std::int64_t values = shape[1] * shape[2];
      for (std::int64_t item = 0; item < 3; ++item) {
        const Array got(DType::kComplex64, {shape[1], shape[2]});
        istft_adjoint(item_view(grad, item), window.get(), params, got);
        for (std::int64_t i = 0; i < values; ++i)
          ASSERT_EQ(got.bytes_of(i), one.bytes_of(item * values + i)) << describe(one, params);
      }
      for (const Placement& place : {Placement{{}, 2, 0, {}}, Placement{{1, 0}, 1, 0, {}}, Placement{{}, 1, 3, {1}}}) {
        const Array strided = copy_of(grad, DType::kFloat32, place), got(DType::kComplex64, shape);
        istft_adjoint(strided, window.get(), params, got);
        EXPECT_TRUE(same_bits(got, one)) << describe(one, params);
      }
      for (const Placement& place :
           {Placement{{0, 2, 1}, 1, 0, {}}, Placement{{1, 2, 0}, 1, 0, {1}}, Placement{{}, 3, 2, {0, 2}}}) {
        const Array got(DType::kComplex64, shape, place);
        istft_adjoint(grad, window.get(), params, got);
        got.expect_written_exactly(describe(one, params));
        EXPECT_TRUE(same_bits(got, one)) << describe(one, params);
      }
    }
  }
}

TEST_P(IstftAdjointTest, FramesDoNotLeakIntoEachOther) {
  for (const std::int64_t n_fft : {15, 20, 64, 512}) {
    const std::int64_t hop = n_fft + n_fft / 3 + 1, frames = 30;  // gaps
    const IstftParams params{
        .n_fft = n_fft, .hop_length = hop, .center = false, .edge = EdgePolicy::kZero, .layout = Layout::kFrameMajor};
    const Shape shape = spectrum_shape(1, frames, params);
    Array grad = gradient(DType::kComplex64, shape, params, false);
    for (std::int64_t i = 0; i < grad.numel(); ++i) {
      if (i / hop % 2 == 0 || i % hop >= n_fft) grad.set(i, std::numeric_limits<double>::quiet_NaN());
    }
    const Array out(DType::kComplex64, shape);
    istft_adjoint(grad, nullptr, params, out);
    const std::int64_t bins = shape[-1];
    for (std::int64_t i = 0; i < out.numel(); ++i)
      ASSERT_EQ(std::isnan(out.get(i).real()), i / bins % 2 == 0) << n_fft << " frame " << i / bins;
  }
}

TEST(IstftAdjointErrors, VanishingEnvelope) {
  IstftParams params{.n_fft = 400, .hop_length = 100, .center = false};
  const Shape shape = spectrum_shape(1, 10, params);
  const Array grad = gradient(DType::kComplex64, shape, params, false), out(DType::kComplex64, shape);
  const Window hann("hann", 400);
  expect_error(ErrorKind::kInvalidArgument, "istft_adjoint", {"window", "sample 0", "edge"},
               [&] { istft_adjoint(grad, hann.get(), params, out); });
  EXPECT_TRUE(out.untouched());
  params.center = true;
  const Array inside = gradient(DType::kComplex64, shape, params, false);
  istft_adjoint(inside, hann.get(), params, out);
  out.expect_written_exactly("centred");
}

TEST(IstftAdjointErrors, NameOperatorArgumentAndValue) {
  constexpr ErrorKind kArgument = ErrorKind::kInvalidArgument, kType = ErrorKind::kInvalidType;
  const IstftParams good{.n_fft = 400, .hop_length = 100};
  const Array grad(DType::kFloat32, {2, 900}), out(DType::kComplex64, {2, 201, 10});
  const auto adjoint = [&](const Array& g, const Array& o) { return [&] { istft_adjoint(g, nullptr, good, o); }; };
  expect_error(kType, "istft_adjoint", {"out", "float32"}, adjoint(grad, Array(DType::kFloat32, {2, 201, 10})));
  expect_error(kArgument, "istft_adjoint", {"out", "201", "202"},
               adjoint(grad, Array(DType::kComplex64, {2, 202, 10})));
  expect_error(kArgument, "istft_adjoint", {"out", "frame", "0"}, adjoint(grad, Array(DType::kComplex64, {2, 201, 0})));
  expect_error(kArgument, "istft_adjoint", {"out", "2", "1"}, adjoint(grad, Array(DType::kComplex64, {201})));
  expect_error(kType, "istft_adjoint", {"grad", "float32", "float64"}, adjoint(Array(DType::kFloat64, {2, 900}), out));
  expect_error(kArgument, "istft_adjoint", {"grad", "[2, 900]", "[2, 901]"},
               adjoint(Array(DType::kFloat32, {2, 901}), out));
  expect_error(kArgument, "istft_adjoint", {"onesided"}, adjoint(Array(DType::kComplex64, {2, 900}), out));
  const Window window("hann", 300);
  expect_error(kArgument, "istft_adjoint", {"window", "400", "300"},
               [&] { istft_adjoint(grad, window.get(), good, out); });
  IstftParams bad = good;
  bad.hop_length = -3;
  expect_error(kArgument, "istft_adjoint", {"hop_length", "-3"}, [&] { istft_adjoint(grad, nullptr, bad, out); });
  EXPECT_TRUE(out.untouched());
  const Array none(DType::kComplex64, {0, 201, 10}), no_samples(DType::kFloat32, {0, 900});
  istft_adjoint(no_samples, nullptr, good, none);
  EXPECT_TRUE(none.untouched());
}

}  // namespace
}  // namespace melisma
