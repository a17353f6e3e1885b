#include "melisma/spectrogram.h"

#include "ops/bench_support.h"

namespace melisma::bench {
namespace {

void run_spectrogram(benchmark::State& state, double power) {
  const Size size(state);
  std::vector<float> samples = noise(size.batch * size.samples);
  const Tensor x(samples.data(), DType::kFloat32, {size.batch, size.samples});
  const Hann window(size.n_fft);
  SpectrogramParams params;
  params.frames = size.frames();
  params.power = power;
  const Shape shape = spectrogram_shape(x, params);
  for (auto _ : state) {
    const FreshResult result(DType::kFloat32, shape);
    spectrogram(x, &window.tensor, params, frame_major(result.tensor()));
    benchmark::ClobberMemory();
  }
  report(state, x.shape.numel() * 4 + shape.numel() * 4, size.batch * shape[-1], size.n_fft);
}

void spectrogram_power(benchmark::State& state) { run_spectrogram(state, 2.0); }
BENCHMARK(spectrogram_power)->Apply(table_sizes);

void spectrogram_magnitude(benchmark::State& state) { run_spectrogram(state, 1.0); }
BENCHMARK(spectrogram_magnitude)->Apply(table_sizes);

void run_backward(benchmark::State& state, double power) {
  const Size size(state);
  std::vector<float> samples = noise(size.batch * size.samples);
  const Tensor x(samples.data(), DType::kFloat32, {size.batch, size.samples});
  const Hann window(size.n_fft);
  SpectrogramParams params;
  params.frames = size.frames();
  params.power = power;
  const Shape shape = spectrogram_shape(x, params);
  std::vector<float> grads = noise(shape.numel());
  const Tensor grad = frame_major(Tensor(grads.data(), DType::kFloat32, shape));
  for (auto _ : state) {
    const FreshResult result(DType::kFloat32, x.shape);
    spectrogram_backward(x, grad, &window.tensor, params, result.tensor());
    benchmark::ClobberMemory();
  }
  report(state, 2 * x.shape.numel() * 4 + shape.numel() * 4, 2 * size.batch * shape[-1], size.n_fft);
}

void spectrogram_power_backward(benchmark::State& state) { run_backward(state, 2.0); }
BENCHMARK(spectrogram_power_backward)->Apply(table_sizes);

void spectrogram_magnitude_backward(benchmark::State& state) { run_backward(state, 1.0); }
BENCHMARK(spectrogram_magnitude_backward)->Apply(table_sizes);

}  // namespace
}  // namespace melisma::bench
