#include <string>

#include "blocks/gpu/operators_fixtures.h"

namespace melisma {
namespace {

using testing::Array;
using testing::emulated;
using testing::expect_close;
using testing::FrameCase;
using testing::most_error;
using testing::real_of;
using testing::Window;

// |X|^p turns an error of |X| into p times that; its derivative is steep where |X| is small, for p below 2.
double power_factor(double power) { return power == 2.0 ? 2.0 : 20.0; }

void check_pair(const FrameCase& frame, const SpectrogramParams& params, const Array& x, DType stored) {
  const std::string what = testing::text_of(frame, std::string(dtype_name(x.tensor().dtype)) + " to " +
                                                       dtype_name(stored) + ", power " + std::to_string(params.power));
  const Window window("hann", frame.frames.win_length > 0 ? frame.frames.win_length : frame.frames.n_fft);
  const Tensor on_device = emulated(*window.get());
  const Shape shape = spectrogram_shape(x, params);
  const Array out(stored, shape), want(DType::kFloat64, shape);
  spectrogram(emulated(x), &on_device, params, emulated(out));
  spectrogram_reference(x, window.get(), params, want);
  expect_close(out, want, power_factor(params.power) * most_error(stored), "spectrogram " + what);
  if (x.tensor().dtype == DType::kInt16) return;

  const Array grad = Array(stored, shape).randomize(2);
  const Array back(stored, x.tensor().shape), want_back(DType::kFloat64, x.tensor().shape);
  spectrogram_backward(emulated(x), emulated(grad), &on_device, params, emulated(back));
  spectrogram_backward_reference(x, testing::copy_of(grad, DType::kFloat64), window.get(), params, want_back);
  expect_close(back, want_back, power_factor(params.power) * most_error(stored), "spectrogram_backward " + what);
}

TEST(SpectrogramGpu, EveryFramingAndDtype) {
  for (const FrameCase& frame : testing::frame_cases()) {
    SpectrogramParams params;
    params.frames = frame.frames;
    for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kInt16, DType::kFloat16, DType::kBFloat16}) {
      params.frames.input_scale = dtype == DType::kInt16 ? 1.0 / 32768 : 1.0;
      const Array x = Array(dtype, {2, frame.samples}).randomize();
      check_pair(frame, params, x, real_of(dtype));
      if (is_half(dtype)) check_pair(frame, params, x, dtype == DType::kFloat16 ? DType::kBFloat16 : dtype);
    }
  }
}

TEST(SpectrogramGpu, EveryPowerNormAndLayout) {
  for (const FrameCase& frame : testing::frame_cases()) {
    const Array x = Array(DType::kFloat32, {2, frame.samples}).randomize();
    for (const double power : {2.0, 1.0, 0.7, 3.0}) {
      for (const SpectrumNorm norm : {SpectrumNorm::kNone, SpectrumNorm::kFrameLength, SpectrumNorm::kWindow}) {
        SpectrogramParams params;
        params.frames = frame.frames;
        params.power = power;
        params.norm = frame.frames.n_fft == 1 ? SpectrumNorm::kNone : norm;
        params.layout = norm == SpectrumNorm::kWindow ? Layout::kFrameMajor : Layout::kFrequencyMajor;
        params.nyquist = norm != SpectrumNorm::kFrameLength || frame.frames.n_fft % 2 != 0;
        check_pair(frame, params, x, DType::kFloat32);
      }
    }
  }
}

TEST(SpectrogramGpu, SilenceHasNoGradient) {
  SpectrogramParams params;
  params.frames.n_fft = 256;
  params.frames.hop_length = 64;
  params.power = 0.5;
  Array x(DType::kFloat32, {1000});
  for (std::int64_t i = 0; i < x.numel(); ++i) x.set(i, 0.0);
  const Array grad = Array(DType::kFloat32, spectrogram_shape(x, params)).randomize();
  const Array back(DType::kFloat32, x.tensor().shape);
  spectrogram_backward(emulated(x), emulated(grad), nullptr, params, emulated(back));
  for (std::int64_t i = 0; i < back.numel(); ++i) ASSERT_EQ(back.get(i).real(), 0.0) << "sample " << i;
}

}  // namespace
}  // namespace melisma
