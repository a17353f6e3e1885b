#include "melisma/filtered_spectrogram.h"

#include <numbers>

#include "ops/bench_support.h"

namespace melisma::bench {
namespace {

// samples and params of one batch through `bank`, a fresh result each time.
void run_filtered(benchmark::State& state, const Size& size, const FilterBank& bank,
                  const FilteredSpectrogramParams& params) {
  std::vector<float> samples = noise(size.batch * size.samples);
  const Tensor x(samples.data(), DType::kFloat32, {size.batch, size.samples});
  const Hann window(size.n_fft);
  const Shape shape = filtered_spectrogram_shape(x, bank, params);
  const bool swapped = params.spectrogram.layout == Layout::kFrequencyMajor;
  for (auto _ : state) {
    const FreshResult result(DType::kFloat32, shape);
    filtered_spectrogram(x, &window.tensor, bank, params, swapped ? frame_major(result.tensor()) : result.tensor());
    benchmark::ClobberMemory();
  }
  const std::int64_t frames = shape.numel() / bank.bands();
  report(state, x.shape.numel() * 4 + shape.numel() * 4, frames, size.n_fft);
}

void run_filtered_backward(benchmark::State& state, const Size& size, const FilterBank& bank,
                           const FilteredSpectrogramParams& params) {
  std::vector<float> samples = noise(size.batch * size.samples);
  const Tensor x(samples.data(), DType::kFloat32, {size.batch, size.samples});
  const Hann window(size.n_fft);
  const Shape shape = filtered_spectrogram_shape(x, bank, params);
  std::vector<float> grads = noise(shape.numel());
  const Tensor grad = frame_major(Tensor(grads.data(), DType::kFloat32, shape));
  for (auto _ : state) {
    const FreshResult result(DType::kFloat32, x.shape);
    filtered_spectrogram_backward(x, grad, &window.tensor, bank, params, result.tensor());
    benchmark::ClobberMemory();
  }
  const std::int64_t frames = shape.numel() / bank.bands();
  report(state, 2 * x.shape.numel() * 4 + shape.numel() * 4, 2 * frames, size.n_fft);
}

void mel_sizes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"batch", "samples", "n_fft", "hop", "threads", "mels", "rate"});
  for (const int threads : {1, 2}) {
    bench->Args({32, 480'000, 400, 160, threads, 80, 16'000});
    bench->Args({4, 480'000, 2048, 240, threads, 128, 24'000});
    bench->Args({1, 180 * 22'050, 2048, 512, threads, 128, 22'050});
  }
  bench->Unit(benchmark::kMicrosecond)->UseRealTime();
}

template <bool kBackward = false>
void run_mel(benchmark::State& state, const LogParams& log) {
  const Size size(state);
  MelParams mel;
  mel.n_mels = state.range(5);
  mel.sample_rate = static_cast<double>(state.range(6));
  FilteredSpectrogramParams params;
  params.spectrogram.frames = size.frames();
  params.log = log;
  const FilterBank bank = FilterBank::mel(size.n_fft / 2 + 1, mel);
  kBackward ? run_filtered_backward(state, size, bank, params) : run_filtered(state, size, bank, params);
}

void mel_power(benchmark::State& state) { run_mel(state, LogParams{}); }
BENCHMARK(mel_power)->Apply(mel_sizes);

void mel_power_backward(benchmark::State& state) { run_mel<true>(state, LogParams{}); }
BENCHMARK(mel_power_backward)->Apply(mel_sizes);

// 10 log10(max(v, 1e-10)), whose gradient is without clipping.
void log_mel_backward(benchmark::State& state) {
  LogParams log;
  log.enabled = true;
  log.scale = 10.0 / std::numbers::ln10;
  log.floor = 1e-10;
  run_mel<true>(state, log);
}
BENCHMARK(log_mel_backward)->Apply(mel_sizes);

// 10 log10(max(v, 1e-10)) with everything 80 dB below the item's maximum raised to that.
void log_mel_db(benchmark::State& state) {
  LogParams log;
  log.enabled = true;
  log.scale = 10.0 / std::numbers::ln10;
  log.floor = 1e-10;
  log.top = 80.0;
  run_mel(state, log);
}
BENCHMARK(log_mel_db)->Apply(mel_sizes);

// log10(1 + |X| F), 81 bands, 100 frames a second at 44.1 kHz: madmom's front end.
void log_filtered(benchmark::State& state) {
  const Size size(state);
  LogBandParams bands;
  bands.sample_rate = 44'100.0;
  FilteredSpectrogramParams params;
  params.spectrogram.frames = size.frames();
  params.spectrogram.frames.tail = FrameTail::kCovers;
  params.spectrogram.frames.pad_mode = PadMode::kConstant;
  params.spectrogram.power = 1.0;
  params.spectrogram.nyquist = false;
  params.spectrogram.layout = Layout::kFrameMajor;
  params.log.enabled = true;
  params.log.scale = 1.0 / std::numbers::ln10;
  params.log.add = 1.0;
  run_filtered(state, size, FilterBank::logarithmic(size.n_fft / 2, bands), params);
}
BENCHMARK(log_filtered)
    ->ArgNames({"batch", "samples", "n_fft", "hop", "threads"})
    ->Args({4, 195 * 44'100, 2048, 441, 1})
    ->Args({4, 195 * 44'100, 2048, 441, 2})
    ->Unit(benchmark::kMicrosecond)
    ->UseRealTime();

}  // namespace
}  // namespace melisma::bench
