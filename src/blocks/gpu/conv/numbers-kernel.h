// What the convolution's kernels compute with beside the dialect's arithmetic: silu and its slope, and elements of a
// type that is known where a kernel is compiled.
#pragma once

#include "blocks/gpu/framing-kernel.h"

namespace melisma::gpu {

// --- silu(h) = h / (1 + exp(-h))
// --------------------------------------------------------------------------------------

// For float32 results: root mean square error 0.47 ulp, at most 2.4, of which all but 0.4 are a float32's own rounding
// of exp(-h) and 1 + exp(-h).
enum { kSiluShift = 64 };  // 2^64 exp(-120) is normal

struct SiluExp {
  float p;             // exp(a) = p 2^n
  std::uint32_t bits;  // n + 127 in the lowest ones
};

// |a| <= 120. 2^f for |f| <= 1/2 by its minimax polynomial of degree 6, 2e-9 off.
MEL_FN SiluExp silu_exp(float a) {
  const float round = 12582912.0f + 127.0f;
  const float rounded = mel_fma(a, 1.44269502f, round);  // 1 / ln 2 in two floats
  const float f = mel_fma(a, 1.92596299e-8f, mel_fma(a, 1.44269502f, round - rounded));
  float sum = mel_fma(1.5353362e-4f, f, 1.3398875e-3f);
  sum = mel_fma(sum, f, 9.6184369e-3f);
  sum = mel_fma(sum, f, 5.5503324e-2f);
  sum = mel_fma(sum, f, 2.40226477e-1f);
  sum = mel_fma(sum, f, 6.93147182e-1f);
  return SiluExp{mel_fma(sum, f, 1.0f), mel_float_bits(rounded)};
}

// a / b, b of [1, 2^64]: two roundings less than a reciprocal and a product.
MEL_FN float silu_quotient(float a, float b) {
  const float r = mel_fast_reciprocal(b), q = a * r;
  return mel_fma(mel_fma(-b, q, a), r, q);
}

// Where this is false for all of a few values, silu_near is their silu. NaN is near.
MEL_FN bool silu_far(float h) { return mel_fast_abs(h) > 44.0f; }
MEL_FN float silu_near(float h) {
  const SiluExp e = silu_exp(-h);
  return silu_quotient(h, mel_fma(e.p, mel_bits_float(e.bits << 23), 1.0f));
}
MEL_FN float silu_of_far(float h) {
  if (h > 0.0f) return h;  // 1 + exp(-44) is 1
  const float low = h < -120.0f ? -120.0f : h;
  const SiluExp e = silu_exp(low);
  const float shifted = (low * e.p) * mel_bits_float((e.bits + kSiluShift) << 23);
  return shifted * 5.42101086e-20f;  // 2^-64
}
MEL_FN float silu_float(float h) { return silu_far(h) ? silu_of_far(h) : silu_near(h); }

// For half precision results: 2^-17 of the value, and -0 from h = -87.3 on (PyTorch's from -88.7 on).
MEL_FN float silu_half(float h) {
  const float e = mel_fast_exp2(h * -1.44269504f);
  const float low = mel_fast_max(h, -1e38f);  // -inf times 0; NaN stays in e
  return low * mel_fast_reciprocal(e + 1.0f);
}

// The slope s (1 + h (1 - s)), s = 1 / (1 + exp(-h)). That for half precision results is NaN where h is infinite. The
// power is the device's exp2 of what is left of -h / ln 2 (in two floats): within 2 ulp, in fewer instructions than
// silu_exp's.
MEL_FN float silu_slope_float(float h) {
  const float near = mel_fast_clamp(h, -87.0f, 87.0f);
  const float round = 12582912.0f + 127.0f;
  const float rounded = mel_fma(near, -1.44269504f, round);
  const float rest = mel_fma(near, -1.92596299e-8f, mel_fma(near, -1.44269504f, round - rounded));
  const float e = mel_fast_exp2(rest) * mel_bits_float(mel_float_bits(rounded) << 23);
  const float s = silu_quotient(1.0f, e + 1.0f);
  return s * mel_fma(near, e * s, 1.0f);  // e s is 1 - s, and exact where s is nearly 1
}
MEL_FN float silu_slope_half(float h) {
  const float s = mel_fast_reciprocal(1.0f + mel_fast_exp2(h * -1.44269504f));
  return s * mel_fma(h, 1.0f - s, 1.0f);
}

template <typename T>
MEL_FN T silu_wide(T h) {
  if (h < T(-746)) return h != h ? h : T(-0.0);
  return h / (T(1) + mel_exp(-h));
}
template <typename T>
MEL_FN T silu_slope_wide(T h) {
  const T near = h < T(-700) ? T(-700) : h > T(700) ? T(700) : h;
  const T power = mel_exp(-mel_abs(near));
  const T large = T(1) / (T(1) + power), small = power * large;
  return h < T(0) ? small * mel_fma(near, large, T(1)) : large * mel_fma(near, small, T(1));
}

// By the type of the computation and of the results.
template <typename T>
struct Silu {
  MEL_FN static T value(T h, int) { return silu_wide(h); }
  MEL_FN static T slope(T h, int) { return silu_slope_wide(h); }
};
template <>
struct Silu<float> {
  MEL_FN static float value(float h, int type) { return type == kSampleFloat32 ? silu_float(h) : silu_half(h); }
  MEL_FN static float slope(float h, int type) {
    return type == kSampleFloat32 ? silu_slope_float(h) : silu_slope_half(h);
  }
};

// --- elements of one of the types, as kernels with a fixed one take them
// ----------------------------------------------

// A vector is 16 bytes: 4 words of kPerWord elements.
template <int kType>
struct ConvElement {
  using Word = std::uint32_t;
  using Scalar = std::uint16_t;
  static constexpr int kPerWord = 2;
  static constexpr int kPerVector = 8;
  MEL_FN static float get(Word word, int i) {
    const std::uint16_t bits = static_cast<std::uint16_t>(i == 0 ? word : word >> 16);
    return kType == kSampleFloat16 ? mel_half_bits_to_float(bits) : mel_bfloat_bits_to_float(bits);
  }
  MEL_FN static float from(Scalar bits) {
    return kType == kSampleFloat16 ? mel_half_bits_to_float(bits) : mel_bfloat_bits_to_float(bits);
  }
  MEL_FN static Scalar to(float value) {
    return kType == kSampleFloat16 ? mel_float_to_half_bits(value) : mel_float_to_bfloat_bits(value);
  }
  MEL_FN static Word pack(float low, float high) {
    return kType == kSampleFloat16 ? mel_pack_halves(low, high) : mel_pack_bfloats(low, high);
  }
  // i of a word's elements put into it.
  MEL_FN static Word put(Word word, int i, Scalar bits) {
    return i == 0 ? (word & 0xFFFF0000u) | bits : (word & 0xFFFFu) | static_cast<Word>(bits) << 16;
  }
};
template <>
struct ConvElement<kSampleFloat32> {
  using Word = float;
  using Scalar = float;
  static constexpr int kPerWord = 1;
  static constexpr int kPerVector = 4;
  MEL_FN static float get(Word word, int) { return word; }
  MEL_FN static float from(Scalar value) { return value; }
  MEL_FN static Scalar to(float value) { return value; }
  MEL_FN static Word pack(float low, float) { return low; }
  MEL_FN static Word put(Word, int, Scalar value) { return value; }
};

// silu of a few values of one thread; those far out are seldom and cost a branch for all together.
template <int kType, int kCount>
MEL_FN void silu_all(MEL_LOCAL float (&h)[kCount]) {
  if (kType != kSampleFloat32) {
    MEL_UNROLL
    for (int i = 0; i < kCount; ++i) h[i] = silu_half(h[i]);
    return;
  }
  float near[kCount], most = 0.0f;
  MEL_UNROLL
  for (int i = 0; i < kCount; ++i) {
    near[i] = silu_near(h[i]);
    most = mel_fast_max(most, mel_fast_abs(h[i]));
  }
  if (silu_far(most)) {
    MEL_UNROLL
    for (int i = 0; i < kCount; ++i) near[i] = silu_far(h[i]) ? silu_of_far(h[i]) : near[i];
  }
  MEL_UNROLL
  for (int i = 0; i < kCount; ++i) h[i] = near[i];
}

template <int kType>
MEL_FN float silu_slope(float h) {
  return kType == kSampleFloat32 ? silu_slope_float(h) : silu_slope_half(h);
}

}  // namespace melisma::gpu
