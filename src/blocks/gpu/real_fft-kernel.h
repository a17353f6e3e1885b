// Transforms of real values in a thread's registers, at half the cost of complex ones.
#pragma once

#include "blocks/gpu/register_fft-kernel.h"

namespace melisma::gpu {
namespace register_fft {

// X[k], 0 < k < N / 2, of the even number N of values x; in X[0] the sums of those at even and at odd places, from
// which X[0] and X[N / 2] are a butterfly away.
template <int N, Kind kKind = kind(N)>
struct RealDft;

template <>
struct RealDft<2, Kind::kRadix2> {
  MEL_FN static void run(MEL_LOCAL float (&x)[2], MEL_LOCAL Complex<float> (&v)[1]) {
    v[0] = Complex<float>{x[0], x[1]};
  }
};

template <int N>
struct RealDft<N, Kind::kRadix2> {
  MEL_FN static void run(MEL_LOCAL float (&x)[N], MEL_LOCAL Complex<float> (&v)[N / 2]) {
    constexpr int H = N / 2, Q = N / 4, kStep = 64 / N;
    float even[H], odd[H];
    MEL_UNROLL
    for (int i = 0; i < H; ++i) {
      even[i] = x[2 * i];
      odd[i] = x[2 * i + 1];
    }
    Complex<float> a[Q], b[Q];
    RealDft<H>::run(even, a);
    RealDft<H>::run(odd, b);
    v[0] = Complex<float>{a[0].re + a[0].im, b[0].re + b[0].im};
    v[Q] = Complex<float>{a[0].re - a[0].im, b[0].im - b[0].re};
    MEL_UNROLL
    for (int k = 1; k < Q; ++k) {
      const bool near = 2 * k <= Q;  // to the axis of the real numbers
      const int e = (near ? k : Q - k) * kStep;
      const float far = kCos64[e], t = kTan64[e];
      Complex<float> d{mel_fma(b[k].re, t, b[k].im), mel_fma(b[k].im, t, -b[k].re)};
      if (near) d = Complex<float>{mel_fma(b[k].im, t, b[k].re), mel_fma(b[k].re, -t, b[k].im)};
      v[k] = Complex<float>{mel_fma(d.re, far, a[k].re), mel_fma(d.im, far, a[k].im)};
      v[H - k] = Complex<float>{mel_fma(d.re, -far, a[k].re), mel_fma(d.im, far, -a[k].im)};
    }
  }
};

// An odd prime's: X[0] is real, X[1] .. X[(R - 1) / 2] follow.
template <int R>
MEL_FN void real_prime_dft(MEL_LOCAL float (&x)[R], MEL_LOCAL float& all, MEL_LOCAL Complex<float> (&v)[(R - 1) / 2]) {
  constexpr int H = (R - 1) / 2;
  float sum[H], dif[H];
  all = x[0];
  MEL_UNROLL
  for (int i = 1; i <= H; ++i) {
    sum[i - 1] = x[i] + x[R - i];
    dif[i - 1] = x[i] - x[R - i];
    all = all + sum[i - 1];
  }
  MEL_UNROLL
  for (int k = 1; k <= H; ++k) {
    float c = x[0], s = 0.0f;
    MEL_UNROLL
    for (int i = 1; i <= H; ++i) {
      const float cosine = Root<R>::cosine(i * k % R), sine = -Root<R>::sine(i * k % R);
      c = mel_fma(sum[i - 1], cosine, c);
      s = i == 1 ? dif[0] * sine : mel_fma(dif[i - 1], sine, s);
    }
    v[k - 1] = Complex<float>{c, s};
  }
}

// P * Q, P a power of two and Q an odd prime: as Dft's.
template <int N>
struct RealDft<N, Kind::kCoprime> {
  enum : int {
    P = prime_power(N),
    Q = N / P,
    kFirst = Q * inverse_modulo(Q % P, P),
    kSecond = P * inverse_modulo(P % Q, Q),
    kOthers = (Q - 1) / 2,
  };
  static_assert(power_of_two(P) && is_prime(Q), "2^a times an odd prime");
  MEL_FN static void put(MEL_LOCAL Complex<float> (&v)[N / 2], int k, Complex<float> x) {
    if (2 * k < N) {
      v[k] = x;
    } else {
      v[N - k] = conj(x);
    }
  }
  MEL_FN static void run(MEL_LOCAL float (&x)[N], MEL_LOCAL Complex<float> (&v)[N / 2]) {
    float sums[P];
    Complex<float> rows[kOthers][P], real[P / 2];
    MEL_UNROLL
    for (int i = 0; i < P; ++i) {
      float column[Q];
      Complex<float> others[kOthers];
      MEL_UNROLL
      for (int j = 0; j < Q; ++j) column[j] = x[(Q * i + P * j) % N];
      real_prime_dft(column, sums[i], others);
      MEL_UNROLL
      for (int j = 0; j < kOthers; ++j) rows[j][i] = others[j];
    }
    RealDft<P>::run(sums, real);
    v[0] = real[0];  // an input's place is even where i is
    MEL_UNROLL
    for (int i = 1; i < P / 2; ++i) put(v, kFirst * i % N, real[i]);
    MEL_UNROLL
    for (int j = 0; j < kOthers; ++j) {
      Dft<P>::run(rows[j]);
      MEL_UNROLL
      for (int i = 0; i < P; ++i) put(v, (kFirst * i + kSecond * (j + 1)) % N, rows[j][i]);
    }
  }
};

}  // namespace register_fft

template <int N>
MEL_FN void real_dft(MEL_LOCAL float (&x)[N], MEL_LOCAL Complex<float> (&v)[N / 2]) {
  register_fft::RealDft<N>::run(x, v);
}

}  // namespace melisma::gpu
