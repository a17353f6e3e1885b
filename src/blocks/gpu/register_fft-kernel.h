// Small transforms in a thread's registers, unrolled: powers of two by radix 2 in the form that takes six fused
// multiply-adds a butterfly, other sizes by their prime factors, without twiddles where the factors are coprime.
#pragma once

#include "runtime/gpu/dialect.h"

namespace melisma::gpu {

// cos(2 pi k / R), sin(2 pi k / R); for 64 the tangent, up to an eighth of a turn.
MEL_CONSTANT constexpr float kCos64[] = {1.0f,
                                         0.995184726672f,
                                         0.980785280403f,
                                         0.956940335732f,
                                         0.923879532511f,
                                         0.881921264348f,
                                         0.831469612303f,
                                         0.773010453363f,
                                         0.707106781187f};
MEL_CONSTANT constexpr float kTan64[] = {0.0f,
                                         0.0984914033572f,
                                         0.19891236738f,
                                         0.303346683607f,
                                         0.414213562373f,
                                         0.534511135951f,
                                         0.668178637919f,
                                         0.820678790829f,
                                         1.0f};
MEL_CONSTANT constexpr float kCos5[] = {1.0f, 0.309016994375f, -0.809016994375f};
MEL_CONSTANT constexpr float kSin5[] = {0.0f, 0.951056516295f, 0.587785252292f};
MEL_CONSTANT constexpr float kCos7[] = {1.0f, 0.623489801859f, -0.222520933956f, -0.900968867902f};
MEL_CONSTANT constexpr float kSin7[] = {0.0f, 0.781831482468f, 0.974927912182f, 0.433883739118f};
MEL_CONSTANT constexpr float kCos9[] = {1.0f, 0.766044443119f, 0.173648177667f, -0.5f, -0.939692620786f};
MEL_CONSTANT constexpr float kSin9[] = {0.0f, 0.642787609687f, 0.984807753012f, 0.866025403784f, 0.342020143326f};
MEL_CONSTANT constexpr float kCos25[] = {1.0f,
                                         0.968583161129f,
                                         0.876306680044f,
                                         0.728968627421f,
                                         0.535826794979f,
                                         0.309016994375f,
                                         0.0627905195293f,
                                         -0.187381314586f,
                                         -0.425779291565f,
                                         -0.637423989749f,
                                         -0.809016994375f,
                                         -0.929776485888f,
                                         -0.992114701314f,
                                         -0.992114701314f,
                                         -0.929776485888f,
                                         -0.809016994375f,
                                         -0.637423989749f};
MEL_CONSTANT constexpr float kSin25[] = {0.0f,
                                         0.248689887165f,
                                         0.481753674102f,
                                         0.684547105929f,
                                         0.844327925502f,
                                         0.951056516295f,
                                         0.998026728428f,
                                         0.982287250729f,
                                         0.904827052466f,
                                         0.770513242776f,
                                         0.587785252292f,
                                         0.368124552685f,
                                         0.125333233564f,
                                         -0.125333233564f,
                                         -0.368124552685f,
                                         -0.587785252292f,
                                         -0.770513242776f};

namespace register_fft {

constexpr bool power_of_two(int n) { return (n & (n - 1)) == 0; }

// The part of n made of the first of 2, 3, 5 that divides it; n itself where it is prime.
constexpr int prime_power(int n) {
  int result = 1;
  for (int p = 2; p <= n && result == 1; ++p) {
    for (; n % p == 0; n /= p) result *= p;
  }
  return result;
}
constexpr int inverse_modulo(int a, int n) {
  for (int i = 1; i < n; ++i) {
    if (a * i % n == 1) return i;
  }
  return 0;
}

enum class Kind { kPrime, kRadix2, kCoprime, kSquare };
constexpr bool is_prime(int n) {
  for (int p = 2; p * p <= n; ++p) {
    if (n % p == 0) return false;
  }
  return true;
}
constexpr Kind kind(int n) {
  return power_of_two(n)       ? Kind::kRadix2
         : is_prime(n)         ? Kind::kPrime
         : prime_power(n) == n ? Kind::kSquare
                               : Kind::kCoprime;
}

template <int N, Kind kKind = kind(N)>
struct Dft;

template <>
struct Dft<1, Kind::kRadix2> {
  MEL_FN static void run(MEL_LOCAL Complex<float> (&)[1]) {}
};

// Decimation in time: x_even +- w x_odd, w = c (1 - i t) or, where the sine is the larger, s (u - i).
template <int N>
struct Dft<N, Kind::kRadix2> {
  MEL_FN static void run(MEL_LOCAL Complex<float> (&v)[N]) {
    constexpr int H = N / 2, Q = N / 4, kStep = 64 / N;
    Complex<float> even[H], odd[H];
    MEL_UNROLL
    for (int k = 0; k < H; ++k) {
      even[k] = v[2 * k];
      odd[k] = v[2 * k + 1];
    }
    Dft<H>::run(even);
    Dft<H>::run(odd);
    MEL_UNROLL
    for (int k = 0; k < H; ++k) {
      const Complex<float> a = even[k], b = odd[k];
      if (k == 0) {
        v[k] = a + b;
        v[k + H] = a - b;
      } else if (2 * k == H) {  // -i
        v[k] = Complex<float>{a.re + b.im, a.im - b.re};
        v[k + H] = Complex<float>{a.re - b.im, a.im + b.re};
      } else {
        const int r = k < Q ? k : H - k;  // to the axis of the real numbers
        const bool near = 2 * r <= Q;
        const int e = (near ? r : Q - r) * kStep;
        const float far = kCos64[e], t = k < Q ? kTan64[e] : -kTan64[e];
        const float side = k < Q ? 1.0f : -1.0f;
        Complex<float> d{mel_fma(b.re, t, b.im), mel_fma(b.im, t, -b.re)};
        if (near) d = Complex<float>{mel_fma(b.im, kTan64[e], side * b.re), mel_fma(b.re, -kTan64[e], side * b.im)};
        v[k] = Complex<float>{mel_fma(d.re, far, a.re), mel_fma(d.im, far, a.im)};
        v[k + H] = Complex<float>{mel_fma(d.re, -far, a.re), mel_fma(d.im, -far, a.im)};
      }
    }
  }
};

template <>
struct Dft<3, Kind::kPrime> {
  MEL_FN static void run(MEL_LOCAL Complex<float> (&v)[3]) {
    constexpr float s = 0.866025403784f;
    const Complex<float> sum = v[1] + v[2], dif = v[1] - v[2];
    const Complex<float> c = Complex<float>{mel_fma(sum.re, -0.5f, v[0].re), mel_fma(sum.im, -0.5f, v[0].im)};
    v[0] = v[0] + sum;
    v[1] = Complex<float>{mel_fma(dif.im, s, c.re), mel_fma(dif.re, -s, c.im)};
    v[2] = Complex<float>{mel_fma(dif.im, -s, c.re), mel_fma(dif.re, s, c.im)};
  }
};

// Cosine and sine of i k of R parts of a turn, k and i up to (R - 1) / 2.
template <int R>
struct Root;
template <>
struct Root<5> {
  MEL_FN static float cosine(int j) { return kCos5[j <= 2 ? j : 5 - j]; }
  MEL_FN static float sine(int j) { return j <= 2 ? kSin5[j] : -kSin5[5 - j]; }
};
template <>
struct Root<7> {
  MEL_FN static float cosine(int j) { return kCos7[j <= 3 ? j : 7 - j]; }
  MEL_FN static float sine(int j) { return j <= 3 ? kSin7[j] : -kSin7[7 - j]; }
};
template <>
struct Root<9> {
  MEL_FN static float cosine(int j) { return kCos9[j]; }
  MEL_FN static float sine(int j) { return kSin9[j]; }
};
template <>
struct Root<25> {
  MEL_FN static float cosine(int j) { return kCos25[j]; }
  MEL_FN static float sine(int j) { return kSin25[j]; }
};

// Inputs i and R - i share their products.
template <int R>
struct Dft<R, Kind::kPrime> {
  MEL_FN static void run(MEL_LOCAL Complex<float> (&v)[R]) {
    constexpr int H = (R - 1) / 2;
    Complex<float> sum[H], dif[H], all = v[0];
    MEL_UNROLL
    for (int i = 1; i <= H; ++i) {
      sum[i - 1] = v[i] + v[R - i];
      dif[i - 1] = v[i] - v[R - i];
      all = all + sum[i - 1];
    }
    MEL_UNROLL
    for (int k = 1; k <= H; ++k) {
      Complex<float> c = v[0], s{0.0f, 0.0f};
      MEL_UNROLL
      for (int i = 1; i <= H; ++i) {
        const float cosine = Root<R>::cosine(i * k % R), sine = Root<R>::sine(i * k % R);
        c = Complex<float>{mel_fma(sum[i - 1].re, cosine, c.re), mel_fma(sum[i - 1].im, cosine, c.im)};
        if (i == 1) {
          s = dif[0] * sine;
        } else {
          s = Complex<float>{mel_fma(dif[i - 1].re, sine, s.re), mel_fma(dif[i - 1].im, sine, s.im)};
        }
      }
      v[k] = Complex<float>{c.re + s.im, c.im - s.re};  // v[k], v[R - k] have been read: sums and differences are left
      v[R - k] = Complex<float>{c.re - s.im, c.im + s.re};
    }
    v[0] = all;
  }
};

// P * Q, coprime: input Q i + P j, output by the Chinese remainder theorem.
template <int N>
struct Dft<N, Kind::kCoprime> {
  enum : int {
    P = prime_power(N),
    Q = N / P,
    kFirst = Q * inverse_modulo(Q % P, P),
    kSecond = P * inverse_modulo(P % Q, Q),
  };
  MEL_FN static void run(MEL_LOCAL Complex<float> (&v)[N]) {
    Complex<float> rows[P][Q];
    MEL_UNROLL
    for (int j = 0; j < Q; ++j) {
      Complex<float> column[P];
      MEL_UNROLL
      for (int i = 0; i < P; ++i) column[i] = v[(Q * i + P * j) % N];
      Dft<P>::run(column);
      MEL_UNROLL
      for (int i = 0; i < P; ++i) rows[i][j] = column[i];
    }
    MEL_UNROLL
    for (int i = 0; i < P; ++i) {
      Dft<Q>::run(rows[i]);
      MEL_UNROLL
      for (int j = 0; j < Q; ++j) v[(kFirst * i + kSecond * j) % N] = rows[i][j];
    }
  }
};

template <int N>
struct Dft<N, Kind::kSquare> {
  MEL_FN static void run(MEL_LOCAL Complex<float> (&v)[N]) {
    constexpr int P = N % 3 == 0 ? 3 : 5;
    static_assert(P * P == N, "3 and 5 only");
    Complex<float> rows[P][P];
    MEL_UNROLL
    for (int j = 0; j < P; ++j) {
      Complex<float> column[P];
      MEL_UNROLL
      for (int i = 0; i < P; ++i) column[i] = v[P * i + j];
      Dft<P>::run(column);
      MEL_UNROLL
      for (int i = 0; i < P; ++i) {
        rows[i][j] = column[i];
        if (i * j > 0) rows[i][j] = column[i] * Complex<float>{Root<N>::cosine(i * j), -Root<N>::sine(i * j)};
      }
    }
    MEL_UNROLL
    for (int i = 0; i < P; ++i) {
      Dft<P>::run(rows[i]);
      MEL_UNROLL
      for (int j = 0; j < P; ++j) v[i + P * j] = rows[i][j];
    }
  }
};

}  // namespace register_fft

// v[k] = sum_j v[j] exp(-2 pi i j k / N), N = 2^a (to 64), 9, 25, 3, 5, 7 and products of coprime ones of these.
template <int N>
MEL_FN void dft(MEL_LOCAL Complex<float> (&v)[N]) {
  register_fft::Dft<N>::run(v);
}

// The same with exp(+2 pi i j k / N), unscaled.
template <int N>
MEL_FN void inverse_dft(MEL_LOCAL Complex<float> (&v)[N]) {
  MEL_UNROLL
  for (int k = 0; k < N; ++k) v[k] = Complex<float>{v[k].im, v[k].re};
  register_fft::Dft<N>::run(v);
  MEL_UNROLL
  for (int k = 0; k < N; ++k) v[k] = Complex<float>{v[k].im, v[k].re};
}

}  // namespace melisma::gpu
