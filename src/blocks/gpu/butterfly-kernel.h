// Transforms of 2, 3, 4, 5, 7, 8, 11, 13 and 16 complex values in a thread's registers, natural order in and out.
#pragma once

#include "runtime/gpu/dialect.h"

namespace melisma::gpu {

// cos(2 pi j / r) for 0 < j < r / 2.
template <typename T>
MEL_FN T root_cosine(int r, int j) {
  switch (16 * r + j) {
    case 16 * 3 + 1: return T(-0.5);
    case 16 * 5 + 1: return T(0.30901699437494745);
    case 16 * 5 + 2: return T(-0.8090169943749475);
    case 16 * 7 + 1: return T(0.6234898018587335);
    case 16 * 7 + 2: return T(-0.2225209339563144);
    case 16 * 7 + 3: return T(-0.9009688679024191);
    case 16 * 11 + 1: return T(0.8412535328311812);
    case 16 * 11 + 2: return T(0.41541501300188644);
    case 16 * 11 + 3: return T(-0.14231483827328514);
    case 16 * 11 + 4: return T(-0.6548607339452851);
    case 16 * 11 + 5: return T(-0.9594929736144974);
    case 16 * 13 + 1: return T(0.8854560256532099);
    case 16 * 13 + 2: return T(0.5680647467311558);
    case 16 * 13 + 3: return T(0.12053668025532305);
    case 16 * 13 + 4: return T(-0.3546048870425356);
    case 16 * 13 + 5: return T(-0.7485107481711011);
    default: return T(-0.970941817426052);
  }
}
// sin(2 pi j / r) for 0 < j < r / 2.
template <typename T>
MEL_FN T root_sine(int r, int j) {
  switch (16 * r + j) {
    case 16 * 3 + 1: return T(0.8660254037844386);
    case 16 * 5 + 1: return T(0.9510565162951535);
    case 16 * 5 + 2: return T(0.5877852522924731);
    case 16 * 7 + 1: return T(0.7818314824680298);
    case 16 * 7 + 2: return T(0.9749279121818236);
    case 16 * 7 + 3: return T(0.4338837391175581);
    case 16 * 11 + 1: return T(0.5406408174555976);
    case 16 * 11 + 2: return T(0.9096319953545183);
    case 16 * 11 + 3: return T(0.9898214418809327);
    case 16 * 11 + 4: return T(0.7557495743542583);
    case 16 * 11 + 5: return T(0.28173255684142967);
    case 16 * 13 + 1: return T(0.46472317204376856);
    case 16 * 13 + 2: return T(0.8229838658936564);
    case 16 * 13 + 3: return T(0.992708874098054);
    case 16 * 13 + 4: return T(0.9350162426854148);
    case 16 * 13 + 5: return T(0.6631226582407952);
    default: return T(0.23931566428755777);
  }
}

template <typename T>
MEL_FN void butterfly2(MEL_LOCAL Complex<T>& a, MEL_LOCAL Complex<T>& b) {
  const Complex<T> sum = a + b;
  b = a - b;
  a = sum;
}

// Output k in the place of input k.
template <typename T>
MEL_FN void butterfly4(MEL_LOCAL Complex<T>& a, MEL_LOCAL Complex<T>& b, MEL_LOCAL Complex<T>& c,
                       MEL_LOCAL Complex<T>& d) {
  const Complex<T> even = a + c, odd = a - c, right = b + d, left = turned(b - d);
  a = even + right;
  c = even - right;
  b = odd + left;
  d = odd - left;
}

template <typename T>
MEL_FN void butterfly8(MEL_LOCAL Complex<T> (&v)[8]) {
  const T half_root = T(0.7071067811865476);
  butterfly4(v[0], v[2], v[4], v[6]);
  butterfly4(v[1], v[3], v[5], v[7]);
  // times exp(-2 pi i k / 8)
  const Complex<T> t1 = v[3], t2 = turned(v[5]), t3 = v[7];
  const Complex<T> odd1 = Complex<T>{t1.re + t1.im, t1.im - t1.re} * half_root;
  const Complex<T> odd3 = Complex<T>{t3.im - t3.re, -(t3.re + t3.im)} * half_root;
  const Complex<T> even0 = v[0], even1 = v[2], even2 = v[4], even3 = v[6], odd0 = v[1];
  v[0] = even0 + odd0;
  v[4] = even0 - odd0;
  v[1] = even1 + odd1;
  v[5] = even1 - odd1;
  v[2] = even2 + t2;
  v[6] = even2 - t2;
  v[3] = even3 + odd3;
  v[7] = even3 - odd3;
}

template <typename T>
MEL_FN void butterfly16(MEL_LOCAL Complex<T> (&v)[16]) {
  const T c1 = T(0.9238795325112867), s1 = T(0.3826834323650898), half_root = T(0.7071067811865476);
  MEL_UNROLL
  for (int j = 0; j < 4; ++j) butterfly4(v[j], v[4 + j], v[8 + j], v[12 + j]);
  // v[4 k + j] times exp(-2 pi i j k / 16)
  v[5] = v[5] * Complex<T>{c1, -s1};
  v[6] = Complex<T>{v[6].re + v[6].im, v[6].im - v[6].re} * half_root;
  v[7] = v[7] * Complex<T>{s1, -c1};
  v[9] = Complex<T>{v[9].re + v[9].im, v[9].im - v[9].re} * half_root;
  v[10] = turned(v[10]);
  v[11] = Complex<T>{v[11].im - v[11].re, -(v[11].re + v[11].im)} * half_root;
  v[13] = v[13] * Complex<T>{s1, -c1};
  v[14] = Complex<T>{v[14].im - v[14].re, -(v[14].re + v[14].im)} * half_root;
  v[15] = v[15] * Complex<T>{-c1, s1};
  MEL_UNROLL
  for (int k = 0; k < 4; ++k) butterfly4(v[4 * k], v[4 * k + 1], v[4 * k + 2], v[4 * k + 3]);
  // output k1 + 4 k2 lies at 4 k1 + k2
  MEL_UNROLL
  for (int row = 0; row < 4; ++row) {
    MEL_UNROLL
    for (int column = row + 1; column < 4; ++column) {
      const Complex<T> other = v[4 * row + column];
      v[4 * row + column] = v[4 * column + row];
      v[4 * column + row] = other;
    }
  }
}

// An odd prime R: inputs j and R - j enter every output by their sum and difference.
template <int R, typename T>
MEL_FN void butterfly_prime(MEL_LOCAL Complex<T> (&v)[R]) {
  const Complex<T> first = v[0];
  Complex<T> sums[R / 2], differences[R / 2];
  MEL_UNROLL
  for (int j = 1; j <= R / 2; ++j) {
    sums[j - 1] = v[j] + v[R - j];
    differences[j - 1] = turned(v[j] - v[R - j]);
    v[0] = v[0] + sums[j - 1];
  }
  MEL_UNROLL
  for (int k = 1; k <= R / 2; ++k) {
    Complex<T> even = first, odd = Complex<T>{T(0), T(0)};
    MEL_UNROLL
    for (int j = 1; j <= R / 2; ++j) {
      const int turn = j * k % R;
      const bool upper = 2 * turn > R;
      const T cosine = root_cosine<T>(R, upper ? R - turn : turn);
      const T sine = upper ? -root_sine<T>(R, R - turn) : root_sine<T>(R, turn);
      even.re = mel_fma(cosine, sums[j - 1].re, even.re);
      even.im = mel_fma(cosine, sums[j - 1].im, even.im);
      odd.re = mel_fma(sine, differences[j - 1].re, odd.re);
      odd.im = mel_fma(sine, differences[j - 1].im, odd.im);
    }
    v[k] = even + odd;
    v[R - k] = even - odd;
  }
}

template <typename T>
MEL_FN void butterfly(MEL_LOCAL Complex<T> (&v)[2]) {
  butterfly2(v[0], v[1]);
}
template <typename T>
MEL_FN void butterfly(MEL_LOCAL Complex<T> (&v)[4]) {
  butterfly4(v[0], v[1], v[2], v[3]);
}
template <typename T>
MEL_FN void butterfly(MEL_LOCAL Complex<T> (&v)[8]) {
  butterfly8(v);
}
template <typename T>
MEL_FN void butterfly(MEL_LOCAL Complex<T> (&v)[16]) {
  butterfly16(v);
}
template <int R, typename T>
MEL_FN void butterfly(MEL_LOCAL Complex<T> (&v)[R]) {
  butterfly_prime(v);
}

}  // namespace melisma::gpu
