#include "melisma/stft.h"

#include "ops/bench_support.h"

namespace melisma::bench {
namespace {

void stft_real(benchmark::State& state) {
  const Size size(state);
  std::vector<float> samples = noise(size.batch * size.samples);
  const Tensor x(samples.data(), DType::kFloat32, {size.batch, size.samples});
  const Hann window(size.n_fft);
  StftParams params;
  params.frames = size.frames();
  const Shape shape = stft_shape(x, params);
  for (auto _ : state) {
    const FreshResult result(DType::kComplex64, shape);
    stft(x, &window.tensor, params, frame_major(result.tensor()));
    benchmark::ClobberMemory();
  }
  report(state, x.shape.numel() * 4 + shape.numel() * 8, size.batch * shape[-1], size.n_fft);
}
BENCHMARK(stft_real)->Apply(table_sizes);

// The gradient with respect to the samples: beside istft_real, whose work is the same but for the division.
void stft_adjoint_real(benchmark::State& state) {
  const Size size(state);
  const Hann window(size.n_fft);
  StftParams params;
  params.frames = size.frames();
  const Tensor like(nullptr, DType::kFloat32, {size.batch, size.samples});
  const Shape shape = stft_shape(like, params);
  std::vector<float> values = noise(2 * shape.numel());
  const Tensor grad = frame_major(Tensor(values.data(), DType::kComplex64, shape));
  for (auto _ : state) {
    const FreshResult result(DType::kFloat32, like.shape);
    stft_adjoint(grad, &window.tensor, params, result.tensor());
    benchmark::ClobberMemory();
  }
  report(state, like.shape.numel() * 4 + shape.numel() * 8, size.batch * shape[-1], size.n_fft);
}
BENCHMARK(stft_adjoint_real)->Apply(table_sizes);

void stft_window_gradient_real(benchmark::State& state) {
  const Size size(state);
  std::vector<float> samples = noise(size.batch * size.samples);
  const Tensor x(samples.data(), DType::kFloat32, {size.batch, size.samples});
  StftParams params;
  params.frames = size.frames();
  const Shape shape = stft_shape(x, params);
  std::vector<float> values = noise(2 * shape.numel());
  const Tensor grad = frame_major(Tensor(values.data(), DType::kComplex64, shape));
  std::vector<float> slope(static_cast<std::size_t>(size.n_fft));
  for (auto _ : state) {
    stft_window_gradient(x, grad, params, Tensor(slope.data(), DType::kFloat32, {size.n_fft}));
    benchmark::ClobberMemory();
  }
  report(state, x.shape.numel() * 4 + shape.numel() * 8, size.batch * shape[-1], size.n_fft);
}
BENCHMARK(stft_window_gradient_real)->Apply(table_sizes);

// One second at 48 kHz of every kind of n_fft: powers of two, mixed radices, and primes (Bluestein).
void stft_n_fft(benchmark::State& state) {
  set_num_threads(1);
  const std::int64_t n_fft = state.range(0);
  std::vector<float> samples = noise(std::max<std::int64_t>(48'000, n_fft));
  const Tensor x(samples.data(), DType::kFloat32, {static_cast<std::int64_t>(samples.size())});
  const Hann window(n_fft);
  StftParams params;
  params.frames.n_fft = n_fft;
  const Shape shape = stft_shape(x, params);
  for (auto _ : state) {
    const FreshResult result(DType::kComplex64, shape);
    stft(x, &window.tensor, params, frame_major(result.tensor()));
    benchmark::ClobberMemory();
  }
  report(state, x.shape.numel() * 4 + shape.numel() * 8, shape[-1], n_fft);
}
BENCHMARK(stft_n_fft)
    ->ArgName("n_fft")
    ->Unit(benchmark::kMicrosecond)
    ->UseRealTime()
    ->Arg(16)
    ->Arg(64)
    ->Arg(128)
    ->Arg(256)
    ->Arg(400)
    ->Arg(441)
    ->Arg(480)
    ->Arg(512)
    ->Arg(640)
    ->Arg(1000)
    ->Arg(1024)
    ->Arg(1103)
    ->Arg(1280)
    ->Arg(1920)
    ->Arg(2048)
    ->Arg(4096)
    ->Arg(6000)
    ->Arg(8192)
    ->Arg(16384)
    ->Arg(65536);

}  // namespace
}  // namespace melisma::bench
