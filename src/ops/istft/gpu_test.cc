#include <string>

#include "blocks/gpu/operators_fixtures.h"

namespace melisma {
namespace {

using testing::Array;
using testing::emulated;
using testing::expect_close;
using testing::most_error;
using testing::Window;

struct InverseCase {
  std::int64_t n_fft, hop, win_length, frames, length;
  bool center;
};
constexpr InverseCase kCases[] = {
    {512, 128, 512, 20, -1, true},    {400, 160, 400, 17, -1, true}, {1024, 256, 800, 9, -1, true},
    {2048, 500, 2048, 5, 3000, true}, {480, 113, 480, 12, -1, true}, {64, 7, 64, 31, 150, true},
    {101, 30, 101, 13, -1, true},     {256, 64, 256, 8, -1, false},  {15, 4, 15, 9, -1, true},
    {128, 32, 128, 6, 400, true},     {1, 1, 1, 5, -1, true},        {1000, 300, 900, 4, -1, true},
};

IstftParams params_of(const InverseCase& c) {
  IstftParams params;
  params.n_fft = c.n_fft;
  params.hop_length = c.hop;
  params.win_length = c.win_length;
  params.center = c.center;
  params.length = c.length;
  params.edge = EdgePolicy::kZero;
  return params;
}

Shape spectrum_shape(const InverseCase& c, const IstftParams& params) {
  const std::int64_t bins = params.onesided ? c.n_fft / 2 + 1 : c.n_fft;
  return params.layout == Layout::kFrameMajor ? Shape{2, c.frames, bins} : Shape{2, bins, c.frames};
}

void check_pair(const InverseCase& c, const IstftParams& params, DType dtype, DType stored) {
  const std::string what = "n_fft " + std::to_string(c.n_fft) + ", hop " + std::to_string(c.hop) + ", " +
                           dtype_name(dtype) + " to " + dtype_name(stored);
  const Window window("hann", c.win_length);
  const Tensor on_device = emulated(*window.get());
  const Array spec = Array(dtype, spectrum_shape(c, params)).randomize();
  const Shape shape = istft_shape(spec, params);
  const DType exact = is_complex(stored) ? DType::kComplex128 : DType::kFloat64;
  const Array out(stored, shape), want(exact, shape);
  istft(emulated(spec), &on_device, params, emulated(out));
  istft_reference(spec, window.get(), params, want);
  expect_close(out, want, most_error(stored), "istft " + what);

  const Array grad = Array(stored, shape).randomize(2);
  const Array back(dtype, spec.tensor().shape), want_back(DType::kComplex128, spec.tensor().shape);
  istft_adjoint(emulated(grad), &on_device, params, emulated(back));
  istft_adjoint_reference(grad, window.get(), params, want_back);
  expect_close(back, want_back, most_error(dtype), "istft_adjoint " + what);
}

TEST(IstftGpu, EverySizeAndDtype) {
  for (const InverseCase& c : kCases) {
    const IstftParams params = params_of(c);
    check_pair(c, params, DType::kComplex64, DType::kFloat32);
    check_pair(c, params, DType::kComplex128, DType::kFloat64);
    check_pair(c, params, DType::kComplex64, DType::kFloat16);
    check_pair(c, params, DType::kComplex64, DType::kBFloat16);
    if (c.center && c.length < 0) {  // the envelope vanishes at frame 0's first sample, which is no result
      IstftParams checked = params;
      checked.edge = EdgePolicy::kError;
      check_pair(c, checked, DType::kComplex64, DType::kFloat32);
    }
    IstftParams all = params;
    all.onesided = false;
    all.normalized = true;
    all.edge = EdgePolicy::kClamp;
    check_pair(c, all, DType::kComplex64, DType::kFloat32);
    check_pair(c, all, DType::kComplex64, DType::kComplex64);
    check_pair(c, all, DType::kComplex128, DType::kComplex128);
    IstftParams frame_major = params;
    frame_major.layout = Layout::kFrameMajor;
    check_pair(c, frame_major, DType::kComplex64, DType::kFloat32);
  }
}

TEST(IstftGpu, VanishingEnvelopeIsAnErrorOnTheHostOnly) {
  IstftParams params;
  params.n_fft = 64;
  params.hop_length = 64;
  const Window window("hann", 64);
  testing::expect_error(ErrorKind::kInvalidArgument, "istft", {"overlap-add", "sample 32"},
                        [&] { check_istft_envelope(window.get(), params, 4); });
  params.hop_length = 16;
  check_istft_envelope(window.get(), params, 4);
  check_istft_envelope(nullptr, params, 4);

  params.hop_length = 64;
  const Array spec = Array(DType::kComplex64, {33, 4}).randomize();
  const Array out(DType::kFloat32, istft_shape(spec, params));
  const Tensor on_device = emulated(*window.get());
  istft(emulated(spec), &on_device, params, emulated(out));
  for (std::int64_t i = 0; i < out.numel(); ++i) {
    EXPECT_EQ(std::isnan(out.get(i).real()), i % 64 == 32) << "sample " << i;
  }
}

}  // namespace
}  // namespace melisma
