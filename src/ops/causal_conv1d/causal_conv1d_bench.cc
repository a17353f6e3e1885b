#include "melisma/causal_conv1d.h"

#include <cstring>

#include "ops/bench_support.h"

namespace melisma::bench {
namespace {

// {B, D, T, half, channel-last, silu}; results are reused, as a caller with out has them.
struct Setting {
  std::int64_t B, D, T;
  DType dtype;
  bool channel_last, silu;
  explicit Setting(const benchmark::State& state)
      : B(state.range(0)),
        D(state.range(1)),
        T(state.range(2)),
        dtype(state.range(3) != 0 ? DType::kBFloat16 : DType::kFloat32),
        channel_last(state.range(4) != 0),
        silu(state.range(5) != 0) {
    set_num_threads(1);
  }
  std::size_t bytes() const { return static_cast<std::size_t>(B * D * T) * dtype_size(dtype); }
  Tensor view(void* data) const {
    Tensor t(data, dtype, {B, D, T});
    if (channel_last) {
      t.strides[1] = 1;
      t.strides[2] = D;
    }
    return t;
  }
  CausalConv1dParams params() const { return {silu ? ConvActivation::kSilu : ConvActivation::kNone, false}; }
};

// Values of any dtype, and a result of the same size.
struct Block {
  explicit Block(std::size_t size) : bytes(size), data(allocate_result(size)) { std::memset(data, 0x3c, size); }
  ~Block() { release_result(data); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  std::size_t bytes;
  void* data;
};

void conv_forward(benchmark::State& state) {
  const Setting s(state);
  const Block x(s.bytes()), y(s.bytes());
  std::vector<float> weight = noise(s.D * 4), bias = noise(s.D);
  const Tensor w(weight.data(), DType::kFloat32, {s.D, 4}), b(bias.data(), DType::kFloat32, {s.D});
  CausalConv1dInputs inputs;
  inputs.bias = &b;
  for (auto _ : state) {
    causal_conv1d(s.view(x.data), w, inputs, s.params(), s.view(y.data));
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(2 * s.bytes()));
}

void conv_backward(benchmark::State& state) {
  const Setting s(state);
  const Block x(s.bytes()), g(s.bytes()), dx(s.bytes());
  std::vector<float> weight = noise(s.D * 4), bias = noise(s.D), dw(weight.size()), db(bias.size());
  const Tensor w(weight.data(), DType::kFloat32, {s.D, 4}), b(bias.data(), DType::kFloat32, {s.D});
  const Tensor weight_gradient(dw.data(), DType::kFloat32, {s.D, 4}), bias_gradient(db.data(), DType::kFloat32, {s.D});
  CausalConv1dInputs inputs;
  inputs.bias = &b;
  const Tensor to = s.view(dx.data);
  const CausalConv1dGradients gradients{&to, &weight_gradient, &bias_gradient, nullptr};
  for (auto _ : state) {
    causal_conv1d_backward(s.view(g.data), nullptr, s.view(x.data), w, inputs, s.params(), gradients);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(3 * s.bytes()));
}

// A result that is allocated for the call, and given back to the system after it.
void conv_forward_fresh(benchmark::State& state) {
  const Setting s(state);
  const Block x(s.bytes());
  std::vector<float> weight = noise(s.D * 4);
  const Tensor w(weight.data(), DType::kFloat32, {s.D, 4});
  for (auto _ : state) {
    void* y = allocate_result(s.bytes());
    causal_conv1d(s.view(x.data), w, {}, s.params(), s.view(y));
    benchmark::ClobberMemory();
    release_result(y);
    trim_pool();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(2 * s.bytes()));
}

// What both are held against: the same bytes copied.
void conv_copy(benchmark::State& state) {
  const Setting s(state);
  const Block x(s.bytes()), y(s.bytes());
  for (auto _ : state) {
    std::memcpy(y.data, x.data, s.bytes());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(2 * s.bytes()));
}

void sizes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"B", "D", "T", "half", "last", "silu"})->Unit(benchmark::kMicrosecond)->UseRealTime();
  for (const int half : {0, 1}) {
    for (const int last : {0, 1}) {
      for (const int silu : {0, 1}) {
        bench->Args({4, 256, 512, half, last, silu});
        bench->Args({1, 512, 1024, half, last, silu});
        bench->Args({4, 2048, 2048, half, last, silu});
      }
    }
  }
}
BENCHMARK(conv_copy)
    ->ArgNames({"B", "D", "T", "half", "last", "silu"})
    ->Unit(benchmark::kMicrosecond)
    ->UseRealTime()
    ->Args({4, 256, 512, 0, 0, 0})
    ->Args({1, 512, 1024, 0, 0, 0})
    ->Args({4, 2048, 2048, 0, 0, 0})
    ->Args({4, 2048, 2048, 1, 0, 0});
BENCHMARK(conv_forward)->Apply(sizes);
BENCHMARK(conv_forward_fresh)->Apply(sizes);
BENCHMARK(conv_backward)->Apply(sizes);

// Tokens of 64 sequences of 2048 channels.
void conv_update(benchmark::State& state) {
  set_num_threads(1);
  const std::int64_t B = state.range(0), D = state.range(1), S = state.range(2);
  std::vector<float> x = noise(B * D), y(x.size()), kept = noise(B * D * S), weight = noise(D * 4), bias = noise(D);
  const Tensor b(bias.data(), DType::kFloat32, {D});
  CausalConv1dUpdateInputs inputs;
  inputs.bias = &b;
  for (auto _ : state) {
    causal_conv1d_update(Tensor(x.data(), DType::kFloat32, {B, D}), Tensor(kept.data(), DType::kFloat32, {B, D, S}),
                         Tensor(weight.data(), DType::kFloat32, {D, 4}), inputs, {ConvActivation::kSilu, false},
                         Tensor(y.data(), DType::kFloat32, {B, D}));
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * B * D * 4 * (2 + 2 * S));
}
BENCHMARK(conv_update)
    ->ArgNames({"B", "D", "S"})
    ->Unit(benchmark::kMicrosecond)
    ->UseRealTime()
    ->Args({64, 2048, 3})
    ->Args({64, 2048, 4});

}  // namespace
}  // namespace melisma::bench
