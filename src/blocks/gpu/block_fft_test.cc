#include "blocks/gpu/block_fft.h"

#include <gtest/gtest.h>

#include <cmath>
#include <complex>
#include <random>
#include <string>
#include <vector>

#include "blocks/reference/reference.h"
#include "runtime/emulator/runner.h"

namespace melisma::gpu {
namespace {

template <typename T>
struct TransformFrames {
  struct Args {
    BlockFft<T> fft;
    MEL_GLOBAL(Complex<T>) values;  // [count][n]
    int count;
  };
  static constexpr int kThreads = 64;
  MEL_FN static void run(MEL_THREAD_ARG t, MEL_ARGS(Args) args, MEL_SHARED(char) shared) {
    const int n = args.fft.n, size = args.fft.size;
    MEL_SHARED(Complex<T>) a = MEL_SHARED_CAST(Complex<T>, shared);
    for (int i = t.thread(); i < args.count * n; i += t.threads()) a[i / n * size + i % n] = args.values[i];
    MEL_SHARED(Complex<T>) result = block_fft(t, args.fft, a, a + args.count * size, args.count);
    for (int i = t.thread(); i < args.count * n; i += t.threads()) args.values[i] = result[i / n * size + i % n];
  }
};

// The largest error of a transform over the result's rms, several frames at once.
template <typename T>
double error_of(std::int64_t n, int count, emulator::Runner& runner) {
  std::mt19937_64 bits(static_cast<std::uint64_t>(n));
  std::uniform_real_distribution<double> uniform(-1.0, 1.0);
  std::vector<Complex<T>> values(static_cast<std::size_t>(n * count));
  for (Complex<T>& v : values) v = {static_cast<T>(uniform(bits)), static_cast<T>(uniform(bits))};
  std::vector<std::complex<double>> expected;
  for (int frame = 0; frame < count; ++frame) {
    std::vector<std::complex<double>> x;
    for (std::int64_t i = 0; i < n; ++i) {
      const Complex<T>& v = values[static_cast<std::size_t>(frame * n + i)];
      x.emplace_back(v.re, v.im);
    }
    for (const std::complex<double>& y : reference::dft(x, -1)) expected.push_back(y);
  }
  const BlockFft<T> fft = make_block_fft<T>(n, runner);
  runner.launch<TransformFrames<T>>(1, 2 * count * fft.size * static_cast<std::int64_t>(sizeof(Complex<T>)),
                                    {fft, values.data(), count});
  double worst = 0, energy = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double error = std::abs(std::complex<double>(values[i].re, values[i].im) - expected[i]);
    worst = error <= worst ? worst : error;  // NaN stays
    energy += std::norm(expected[i]);
  }
  return worst / std::sqrt(energy / static_cast<double>(values.size()));
}

constexpr std::int64_t kSizes[] = {1,   2,   3,   4,   5,   6,   7,   8,   9,   10,   11,   12,   13,   14,   15,
                                   16,  17,  19,  20,  22,  26,  30,  31,  32,  49,   64,   97,   100,  121,  128,
                                   169, 200, 223, 240, 256, 400, 441, 500, 512, 1001, 1024, 1103, 2048, 2187, 4096};

// A pass rounds once more: 4 eps a pass and twice as many for Bluestein's two transforms.
TEST(BlockFft, EverySizeInBothPrecisions) {
  for (const std::int64_t n : kSizes) {
    emulator::Runner runner;
    const double passes = 4.0 + 2.0 * std::log2(static_cast<double>(n)), bluestein = is_smooth(n) ? 1.0 : 4.0;
    const int count = n > 1000 ? 1 : 3;
    EXPECT_LT(error_of<float>(n, count, runner), 0x1p-23 * passes * bluestein) << "n = " << n;
    EXPECT_LT(error_of<double>(n, count, runner), 0x1p-52 * passes * bluestein) << "n = " << n;
  }
}

TEST(BlockFft, EveryOrderOfThreads) {
  for (const std::int64_t n : {6, 17, 128, 441}) {
    for (const emulator::Options& options : emulator::every_order()) {
      emulator::Runner runner(options);
      EXPECT_LT(error_of<float>(n, 2, runner), 1e-5) << "n = " << n;
    }
  }
}

TEST(BlockFft, RadicesMultiplyToTheSize) {
  for (std::int64_t n = 1; n < 5000; ++n) {
    if (!is_smooth(n)) continue;
    for (const auto& radices : {block_radices<float>(n), block_radices<double>(n)}) {
      std::int64_t product = 1;
      for (const int radix : radices) product *= radix;
      EXPECT_EQ(product, n);
    }
  }
}

}  // namespace
}  // namespace melisma::gpu
