#include <string>

#include "blocks/gpu/operators_fixtures.h"

namespace melisma {
namespace {

using testing::Array;
using testing::complex_of;
using testing::emulated;
using testing::expect_close;
using testing::FrameCase;
using testing::most_error;
using testing::real_of;
using testing::Window;

std::int64_t win_length(const FrameParams& frames) { return frames.win_length > 0 ? frames.win_length : frames.n_fft; }

// The STFT of x and its two gradients against the references.
void check_family(const FrameCase& frame, const Array& x, const StftParams& params, const std::string& more) {
  const std::string what = testing::text_of(frame, more + ", " + dtype_name(x.tensor().dtype));
  const DType spectrum = complex_of(x.tensor().dtype);
  const Window window("hann", win_length(params.frames));
  const Tensor on_device = emulated(*window.get());
  const Shape shape = stft_shape(x, params);

  const Array out(spectrum, shape), want(DType::kComplex128, shape);
  stft(emulated(x), &on_device, params, emulated(out));
  stft_reference(x, window.get(), params, want);
  expect_close(out, want, most_error(spectrum), "stft " + what);

  const Array grad = Array(spectrum, shape).randomize(3);
  const DType result = is_complex(x.tensor().dtype) ? spectrum : real_of(x.tensor().dtype);
  const DType exact = is_complex(result) ? DType::kComplex128 : DType::kFloat64;
  const Array back(result, x.tensor().shape), want_back(exact, x.tensor().shape);
  stft_adjoint(emulated(grad), &on_device, params, emulated(back));
  stft_adjoint_reference(grad, window.get(), params, want_back);
  expect_close(back, want_back, most_error(result), "stft_adjoint " + what);

  const DType window_dtype = real_of(x.tensor().dtype);
  const Array weights(window_dtype, {win_length(params.frames)}), want_weights(DType::kFloat64, weights.tensor().shape);
  stft_window_gradient(emulated(x), emulated(grad), params, emulated(weights));
  stft_window_gradient_reference(x, grad, params, want_weights);
  expect_close(weights, want_weights, most_error(window_dtype), "stft_window_gradient " + what);
}

TEST(StftGpu, EveryFramingAndDtype) {
  for (const FrameCase& frame : testing::frame_cases()) {
    for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kInt16, DType::kFloat16, DType::kBFloat16}) {
      StftParams params;
      params.frames = frame.frames;
      const Array x = Array(dtype, {2, frame.samples}).randomize();
      check_family(frame, x, params, "one-sided");
    }
    for (const DType dtype : {DType::kComplex64, DType::kComplex128}) {
      StftParams params;
      params.frames = frame.frames;
      params.onesided = false;
      params.normalized = true;
      check_family(frame, Array(dtype, {frame.samples}).randomize(), params, "complex");
    }
  }
}

TEST(StftGpu, EveryLayoutAndBinSet) {
  for (const FrameCase& frame : testing::frame_cases()) {
    if (frame.frames.n_fft % 2 != 0) continue;
    for (const Layout layout : {Layout::kFrequencyMajor, Layout::kFrameMajor}) {
      for (const bool onesided : {true, false}) {
        for (const bool nyquist : {true, false}) {
          if (!onesided && !nyquist) continue;
          StftParams params;
          params.frames = frame.frames;
          params.frames.input_scale = 0.25;
          params.layout = layout;
          params.onesided = onesided;
          params.nyquist = nyquist;
          const Array x = Array(DType::kFloat32, {3, frame.samples}).randomize();
          check_family(frame, x, params, std::string(onesided ? "half" : "all") + (nyquist ? "" : " without nyquist"));
        }
      }
    }
  }
}

TEST(StftGpu, AnyStrides) {
  StftParams params;
  params.frames.n_fft = 512;
  params.frames.hop_length = 128;
  const Shape shape{2, 3, 2000};
  const testing::Placement placements[] = {
      {{}, 1, 0, {}}, {{}, 1, 5, {}}, {{}, 2, 0, {}}, {{2, 0, 1}, 1, 0, {}}, {{1, 0, 2}, 1, 0, {0, 2}}};
  const Array plain = Array(DType::kFloat32, shape).randomize();
  const Array want(DType::kComplex64, stft_shape(plain, params));
  stft(emulated(plain), nullptr, params, emulated(want));
  for (std::size_t i = 0; i < std::size(placements); ++i) {
    const Array x = testing::copy_of(plain, DType::kFloat32, placements[i]);
    const testing::Placement results[] = {
        {}, {{0, 1, 3, 2}, 1, 0, {}}, {{0, 1, 3, 2}, 1, 3, {3}}, {{3, 2, 1, 0}, 2, 0, {1}}};
    for (std::size_t j = 0; j < std::size(results); ++j) {
      const std::string what = "input " + std::to_string(i) + ", result " + std::to_string(j);
      const Array out(DType::kComplex64, want.tensor().shape, results[j]);
      stft(emulated(x), nullptr, params, emulated(out));
      expect_close(out, want, 1e-6, what);
    }
  }
}

TEST(StftGpu, ItemsDoNotDependOnTheirBatch) {
  StftParams params;
  params.frames.n_fft = 400;
  params.frames.hop_length = 160;
  const Array x = Array(DType::kFloat32, {5, 2000}).randomize();
  const Array all(DType::kComplex64, stft_shape(x, params));
  stft(emulated(x), nullptr, params, emulated(all));
  for (std::int64_t i = 0; i < 5; ++i) {
    const Tensor item = testing::item_view(x, i);
    const Array one(DType::kComplex64, stft_shape(item, params));
    stft(emulated(item), nullptr, params, emulated(one));
    for (std::int64_t j = 0; j < one.numel(); ++j) {
      ASSERT_EQ(one.bytes_of(j), all.bytes_of(i * one.numel() + j)) << "item " << i << ", value " << j;
    }
  }
}

}  // namespace
}  // namespace melisma
