#include <string>

#include "blocks/gpu/operators_fixtures.h"

namespace melisma {
namespace {

using testing::Array;
using testing::emulated;
using testing::expect_close;
using testing::FrameCase;
using testing::Window;

// A bank on the host and its matrix as a device has it.
struct DeviceBank {
  FilterBank host;
  Array matrix;

  DeviceBank(FilterBank bank, DType dtype) : host(std::move(bank)), matrix(dtype, {host.bins(), host.bands()}) {
    host.to_dense(matrix);
  }
  FilterBankView view(bool host_knows) const { return FilterBankView(emulated(matrix), host_knows ? &host : nullptr); }
};

FilterBank mel(const SpectrogramParams& params, std::int64_t bands) {
  const std::int64_t bins = params.frames.n_fft / 2 + (params.nyquist ? 1 : 0);
  return FilterBank::mel(bins, {.sample_rate = 16000.0, .n_mels = bands});
}

void check_pair(const FrameCase& frame, const FilteredSpectrogramParams& params, const Array& x, bool host_knows,
                double factor, const std::string& more) {
  const std::string what = testing::text_of(frame, more + (host_knows ? ", known bank" : ", trainable bank"));
  const SpectrogramParams& spectrum = params.spectrogram;
  const DType dtype = testing::real_of(x.tensor().dtype);
  const DeviceBank bank(mel(spectrum, 20), dtype);
  const Window window("hann", spectrum.frames.win_length > 0 ? spectrum.frames.win_length : spectrum.frames.n_fft);
  const Tensor on_device = emulated(*window.get());
  const Shape shape = filtered_spectrogram_shape(x, bank.host, params);
  const Array out(dtype, shape), want(DType::kFloat64, shape);
  filtered_spectrogram(emulated(x), &on_device, bank.view(host_knows), params, emulated(out));
  filtered_spectrogram_reference(x, window.get(), bank.host, params, want);
  expect_close(out, want, factor * testing::most_error(dtype), "filtered_spectrogram " + what);
  if (std::isfinite(params.log.top) || x.tensor().dtype == DType::kInt16) return;

  const Array grad = Array(dtype, shape).randomize(2);
  const Array back(dtype, x.tensor().shape), want_back(DType::kFloat64, x.tensor().shape);
  filtered_spectrogram_backward(emulated(x), emulated(grad), &on_device, bank.view(host_knows), params, emulated(back));
  filtered_spectrogram_backward_reference(x, testing::copy_of(grad, DType::kFloat64), window.get(), bank.host, params,
                                          want_back);
  expect_close(back, want_back, factor * testing::most_error(dtype), "filtered_spectrogram_backward " + what);
}

LogParams decibel() {
  LogParams log;
  log.enabled = true;
  log.scale = 10.0 / std::log(10.0);
  log.floor = 1e-10;
  return log;
}

TEST(FilteredSpectrogramGpu, EveryFramingBankAndDtype) {
  for (const FrameCase& frame : testing::frame_cases()) {
    if (frame.frames.n_fft < 64) continue;  // too few bins for mel bands
    for (const bool host_knows : {true, false}) {
      for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kInt16, DType::kFloat16}) {
        FilteredSpectrogramParams params;
        params.spectrogram.frames = frame.frames;
        params.spectrogram.frames.input_scale = dtype == DType::kInt16 ? 1.0 / 32768 : 1.0;
        check_pair(frame, params, Array(dtype, {2, frame.samples}).randomize(), host_knows, 4.0,
                   std::string("linear ") + dtype_name(dtype));
      }
    }
  }
}

TEST(FilteredSpectrogramGpu, EveryLogarithmAndLayout) {
  for (const FrameCase& frame : testing::frame_cases()) {
    if (frame.frames.n_fft < 64) continue;
    const Array x = Array(DType::kFloat32, {2, 2, frame.samples}).randomize();
    FilteredSpectrogramParams params;
    params.spectrogram.frames = frame.frames;
    params.log = decibel();
    check_pair(frame, params, x, true, 20.0, "decibel");
    params.spectrogram.layout = Layout::kFrameMajor;
    params.spectrogram.power = 1.0;
    params.log.mul = 2.0;
    params.log.add = 1.0;
    params.log.offset = -3.0;
    params.log.post_mul = 0.25;
    params.log.post_add = 1.0;
    check_pair(frame, params, x, false, 20.0, "affine");
    params.float64 = true;
    check_pair(frame, params, x, true, 1.0, "in float64");
  }
}

TEST(FilteredSpectrogramGpu, ClipsToTheMaximumOfItemOrPack) {
  for (const FrameCase& frame : testing::frame_cases()) {
    if (frame.frames.n_fft < 64) continue;
    Array x = Array(DType::kFloat32, {2, 3, frame.samples}).randomize();
    for (std::int64_t i = 0; i < x.numel(); ++i) {
      x.set(i, x.get(i) * std::pow(10.0, static_cast<double>(i / frame.samples) - 3.0));
    }
    for (const TopScope scope : {TopScope::kItem, TopScope::kPacked}) {
      FilteredSpectrogramParams params;
      params.spectrogram.frames = frame.frames;
      params.log = decibel();
      params.log.top = 25.0;
      params.log.top_scope = scope;
      params.log.post_add = 4.0;
      check_pair(frame, params, x, true, 20.0, scope == TopScope::kItem ? "top of items" : "top of packs");
    }
  }
}

}  // namespace
}  // namespace melisma
