// What the operators' Google Benchmark programs share: sizes, inputs, fresh results and counters.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "melisma/frames.h"
#include "melisma/runtime.h"
#include "melisma/tensor.h"
#include "melisma/window.h"

namespace melisma::bench {

// A size of the table in docs/performance.md, as Google Benchmark's arguments: {batch, samples, n_fft, hop, threads}.
struct Size {
  std::int64_t batch, samples, n_fft, hop;

  explicit Size(const benchmark::State& state)
      : batch(state.range(0)), samples(state.range(1)), n_fft(state.range(2)), hop(state.range(3)) {
    set_num_threads(static_cast<int>(state.range(4)));
  }

  FrameParams frames() const {
    FrameParams params;
    params.n_fft = n_fft;
    params.hop_length = hop;
    return params;
  }
};

inline std::vector<float> noise(std::int64_t count) {
  std::mt19937 generator(0);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<std::size_t>(count));
  std::generate(values.begin(), values.end(), [&] { return normal(generator); });
  return values;
}

// A periodic Hann window and its tensor.
struct Hann {
  std::vector<float> values;
  Tensor tensor;

  explicit Hann(std::int64_t length)
      : values(static_cast<std::size_t>(length)), tensor(values.data(), DType::kFloat32, {length}) {
    make_window("hann", true, 0.0, tensor);
  }
};

// A result as a caller gets it: allocated before the operator runs, released after it, both inside the timed part.
class FreshResult {
 public:
  FreshResult(DType dtype, const Shape& shape)
      : block_(allocate_result(static_cast<std::size_t>(shape.numel()) * dtype_size(dtype))),
        tensor_(block_, dtype, shape) {}
  ~FreshResult() { release_result(block_); }
  FreshResult(const FreshResult&) = delete;
  FreshResult& operator=(const FreshResult&) = delete;
  const Tensor& tensor() const { return tensor_; }

 private:
  void* block_;
  Tensor tensor_;
};

// A spectrogram of [..., bins, frames] lies frame-major in memory: the shape's last two axes with swapped strides.
inline Tensor frame_major(Tensor tensor) {
  const auto last = static_cast<std::size_t>(tensor.ndim() - 1);
  tensor.strides[last - 1] = 1;
  tensor.strides[last] = tensor.size(-2);
  return tensor;
}

// bytes/s counts what must move once, input and result, so it compares with the copy bandwidth; GFLOP (a second) counts
// 2.5 n log2 n a real transform, the usual figure whatever the algorithm does.
inline void report(benchmark::State& state, std::int64_t bytes, std::int64_t transforms, std::int64_t n_fft) {
  const double flops = 2.5 * static_cast<double>(n_fft) * std::log2(static_cast<double>(n_fft));
  state.SetBytesProcessed(state.iterations() * bytes);
  state.counters["GFLOP"] =
      benchmark::Counter(flops * static_cast<double>(transforms) / 1e9, benchmark::Counter::kIsIterationInvariantRate);
}

// One thread for every size; two as well where cache-resident and large results scale differently.
inline void table_sizes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"batch", "samples", "n_fft", "hop", "threads"});
  bench->Args({1, 16'000, 512, 128, 1});
  for (const int threads : {1, 2}) {
    bench->Args({4, 160'000, 1024, 256, threads});
    bench->Args({4, 160'000, 2048, 512, threads});
    bench->Args({4, 1'300'000, 1024, 256, threads});
    bench->Args({32, 480'000, 400, 160, threads});
  }
  bench->Args({2, 11'800'000, 2048, 512, 1});
  bench->Unit(benchmark::kMicrosecond)->UseRealTime();
}

}  // namespace melisma::bench
