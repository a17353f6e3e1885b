// Sums and quotients that need more than float32: float64 where the device has it, pairs of float32 elsewhere. Kernels
// take one of the two as a template parameter.
#pragma once

#include "runtime/gpu/dialect.h"

namespace melisma::gpu {

// high + low, |low| at most half an ulp of high: 48 bits.
struct FloatPair {
  float high, low;
};

MEL_FN FloatPair joined(float high, float low) {
  const float sum = high + low;
  return FloatPair{sum, low - (sum - high)};
}

template <typename Wide>
struct WideParts;
template <>
struct WideParts<FloatPair> {
  using Part = float;  // what a kernel loads and multiplies
};

MEL_FN FloatPair wide_sum(FloatPair a, FloatPair b) {
  const float sum = a.high + b.high, shift = sum - a.high;
  const float error = (a.high - (sum - shift)) + (b.high - shift);
  return joined(sum, error + (a.low + b.low));
}
// a b + sum
MEL_FN FloatPair wide_fma(float a, float b, FloatPair sum) {
  const float product = a * b;
  return wide_sum(FloatPair{product, mel_fma(a, b, -product)}, sum);
}
MEL_FN FloatPair wide_product(FloatPair a, FloatPair b) {
  const float product = a.high * b.high;
  return joined(product, mel_fma(a.high, b.high, -product) + (a.high * b.low + a.low * b.high));
}
MEL_FN FloatPair wide_product(FloatPair a, float b) { return wide_product(a, FloatPair{b, 0.0f}); }
MEL_FN FloatPair wide_quotient(FloatPair a, FloatPair b) {
  const float quotient = a.high / b.high;
  const FloatPair product = wide_product(b, FloatPair{quotient, 0.0f});
  return joined(quotient, ((a.high - product.high) + (a.low - product.low)) / b.high);
}
MEL_FN FloatPair wide_sqrt(FloatPair a) {
  const float root = mel_sqrt(a.high);
  if (!(root > 0.0f)) return FloatPair{root, 0.0f};
  const float square = root * root;
  return joined(root, ((a.high - square) - mel_fma(root, root, -square) + a.low) / (2.0f * root));
}
MEL_FN bool wide_above(FloatPair a, FloatPair b) { return a.high > b.high || (a.high == b.high && a.low > b.low); }
MEL_FN FloatPair wide_plus(FloatPair a, float b) { return wide_sum(a, FloatPair{b, 0.0f}); }
template <typename T>
MEL_FN T wide_to(FloatPair a) {
  return T(a.high) + T(a.low);
}

#if !defined(__METAL_VERSION__) && !defined(MELISMA_METAL_SHIM)
template <>
struct WideParts<double> {
  using Part = double;
};
MEL_FN double wide_sum(double a, double b) { return a + b; }
MEL_FN double wide_fma(double a, double b, double sum) { return mel_fma(a, b, sum); }
MEL_FN double wide_product(double a, double b) { return a * b; }
MEL_FN double wide_quotient(double a, double b) { return a / b; }
MEL_FN double wide_sqrt(double a) { return mel_sqrt(a); }
MEL_FN bool wide_above(double a, double b) { return a > b; }
MEL_FN double wide_plus(double a, double b) { return a + b; }
template <typename T>
MEL_FN T wide_to(double a) {
  return static_cast<T>(a);
}
#endif

// The sum over the block's threads, a power of two, in one order; for every thread. sums: one for each thread.
template <typename Wide>
MEL_FN Wide block_sum(MEL_THREAD_ARG t, Wide mine, MEL_SHARED(Wide) sums) {
  t.sync();
  sums[t.thread()] = mine;
  t.sync();
  for (int half = t.threads() / 2; half > 0; half /= 2) {
    if (t.thread() < half) sums[t.thread()] = wide_sum(sums[t.thread()], sums[t.thread() + half]);
    t.sync();
  }
  return sums[0];
}

}  // namespace melisma::gpu
