#include "melisma/istft.h"

#include "melisma/stft.h"
#include "ops/bench_support.h"

namespace melisma::bench {
namespace {

void istft_real(benchmark::State& state) {
  const Size size(state);
  std::vector<float> samples = noise(size.batch * size.samples);
  const Tensor x(samples.data(), DType::kFloat32, {size.batch, size.samples});
  const Hann window(size.n_fft);
  StftParams forward;
  forward.frames = size.frames();
  const FreshResult spectrum(DType::kComplex64, stft_shape(x, forward));
  const Tensor spec = frame_major(spectrum.tensor());
  stft(x, &window.tensor, forward, spec);

  IstftParams params;
  params.n_fft = size.n_fft;
  params.hop_length = size.hop;
  params.length = size.samples;
  const Shape shape = istft_shape(spec, params);
  for (auto _ : state) {
    const FreshResult result(DType::kFloat32, shape);
    istft(spec, &window.tensor, params, result.tensor());
    benchmark::ClobberMemory();
  }
  report(state, spec.shape.numel() * 8 + shape.numel() * 4, size.batch * spec.size(-1), size.n_fft);
}
BENCHMARK(istft_real)->Apply(table_sizes);

// The gradient with respect to the spectrum: beside stft_real, whose work is the same but for the division.
void istft_adjoint_real(benchmark::State& state) {
  const Size size(state);
  const Hann window(size.n_fft);
  std::vector<float> samples = noise(size.batch * size.samples);
  const Tensor grad(samples.data(), DType::kFloat32, {size.batch, size.samples});
  StftParams forward;
  forward.frames = size.frames();
  IstftParams params;
  params.n_fft = size.n_fft;
  params.hop_length = size.hop;
  params.length = size.samples;
  const Shape shape = stft_shape(grad, forward);
  for (auto _ : state) {
    const FreshResult result(DType::kComplex64, shape);
    istft_adjoint(grad, &window.tensor, params, frame_major(result.tensor()));
    benchmark::ClobberMemory();
  }
  report(state, grad.shape.numel() * 4 + shape.numel() * 8, size.batch * shape[-1], size.n_fft);
}
BENCHMARK(istft_adjoint_real)->Apply(table_sizes);

}  // namespace
}  // namespace melisma::bench
