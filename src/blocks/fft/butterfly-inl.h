// Small transforms in registers: one complex value per vector lane, real and imaginary parts in separate vectors.

// clang-format off
#if defined(MELISMA_BLOCKS_FFT_BUTTERFLY_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MELISMA_BLOCKS_FFT_BUTTERFLY_INL_H_
#undef MELISMA_BLOCKS_FFT_BUTTERFLY_INL_H_
#else
#define MELISMA_BLOCKS_FFT_BUTTERFLY_INL_H_
#endif
// clang-format on

#include <array>
#include <cmath>
#include <numbers>

#include "runtime/cpu/highway.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// cos and sin of 2 pi k / R for the odd radices and for 16, correctly rounded literals.
template <int R>
struct Roots;
template <>
struct Roots<3> {
  static constexpr double c[] = {1.0, -0.5};
  static constexpr double s[] = {0.0, 0.86602540378443864676};
};
template <>
struct Roots<5> {
  static constexpr double c[] = {1.0, 0.30901699437494742410, -0.80901699437494742410};
  static constexpr double s[] = {0.0, 0.95105651629515357212, 0.58778525229247312917};
};
template <>
struct Roots<7> {
  static constexpr double c[] = {1.0, 0.62348980185873353053, -0.22252093395631440429, -0.90096886790241912624};
  static constexpr double s[] = {0.0, 0.78183148246802980871, 0.97492791218182360702, 0.43388373911755812048};
};
template <>
struct Roots<11> {
  static constexpr double c[] = {1.0, 0.84125353283118116886, 0.41541501300188642553, -0.14231483827328514044,
                                 -0.65486073394528506406, -0.95949297361449738989};
  static constexpr double s[] = {0.0, 0.54064081745559758211, 0.90963199535451837141, 0.98982144188093273237,
                                 0.75574957435425828377, 0.28173255684142969773};
};
template <>
struct Roots<13> {
  static constexpr double c[] = {1.0, 0.88545602565320989590, 0.56806474673115580251, 0.12053668025532305335,
                                 -0.35460488704253562597, -0.74851074817110109863, -0.97094181742605202715};
  static constexpr double s[] = {0.0, 0.46472317204376854566, 0.82298386589365639457, 0.99270887409805399281,
                                 0.93501624268541482344, 0.66312265824079520238, 0.23931566428755776715};
};

template <class D, class V>
HWY_INLINE void butterfly2(D, V& ar, V& ai, V& br, V& bi) {
  const V tr = hn::Sub(ar, br), ti = hn::Sub(ai, bi);
  ar = hn::Add(ar, br);
  ai = hn::Add(ai, bi);
  br = tr;
  bi = ti;
}

// Any odd radix: pairs i and R-i share their products, R-1 real multiplications a pair and output.
template <int R, class D, class V>
HWY_INLINE void butterfly_odd(D d, V* HWY_RESTRICT re, V* HWY_RESTRICT im) {
  using T = hn::TFromD<D>;
  constexpr int H = (R - 1) / 2;
  V sum_r[H], sum_i[H], dif_r[H], dif_i[H];
  V dc_r = re[0], dc_i = im[0];
#pragma GCC unroll 16
  for (int i = 1; i <= H; ++i) {
    sum_r[i - 1] = hn::Add(re[i], re[R - i]);
    sum_i[i - 1] = hn::Add(im[i], im[R - i]);
    dif_r[i - 1] = hn::Sub(re[i], re[R - i]);
    dif_i[i - 1] = hn::Sub(im[i], im[R - i]);
    dc_r = hn::Add(dc_r, sum_r[i - 1]);
    dc_i = hn::Add(dc_i, sum_i[i - 1]);
  }
#pragma GCC unroll 16
  for (int k = 1; k <= H; ++k) {
    V cr = re[0], ci = im[0], sr = hn::Zero(d), si = hn::Zero(d);
#pragma GCC unroll 16
    for (int i = 1; i <= H; ++i) {
      const int j = i * k % R;
      const V c = hn::Set(d, static_cast<T>(Roots<R>::c[j <= H ? j : R - j]));
      const V s = hn::Set(d, static_cast<T>(j <= H ? Roots<R>::s[j] : -Roots<R>::s[R - j]));
      cr = hn::MulAdd(c, sum_r[i - 1], cr);
      ci = hn::MulAdd(c, sum_i[i - 1], ci);
      sr = hn::MulAdd(s, dif_r[i - 1], sr);
      si = hn::MulAdd(s, dif_i[i - 1], si);
    }
    // sum_i x_i (cos - i sin): the pair's sine part is -i (sr + i si) = si - i sr.
    re[k] = hn::Add(cr, si);
    im[k] = hn::Sub(ci, sr);
    re[R - k] = hn::Sub(cr, si);
    im[R - k] = hn::Add(ci, sr);
  }
  re[0] = dc_r;  // last: every k reads the first input
  im[0] = dc_i;
}

// kStarted, here and below: the first level, sums and differences of inputs half the radix apart, has been done.
template <bool kStarted = false, class D, class V>
HWY_INLINE void butterfly4(D d, V& ar, V& ai, V& br, V& bi, V& cr, V& ci, V& dr, V& di) {
  if constexpr (!kStarted) {
    butterfly2(d, ar, ai, cr, ci);
    butterfly2(d, br, bi, dr, di);
  }
  butterfly2(d, ar, ai, br, bi);  // outputs 0 and 2
  // (c - i d, c + i d): outputs 1 and 3
  const V o1r = hn::Add(cr, di), o1i = hn::Sub(ci, dr);
  const V o3r = hn::Sub(cr, di), o3i = hn::Add(ci, dr);
  cr = br;
  ci = bi;
  br = o1r;
  bi = o1i;
  dr = o3r;
  di = o3i;
}

// (re + i im) times exp(-i pi / 4) and exp(-3 i pi / 4)
template <class D, class V>
HWY_INLINE void rotate_eighth(D d, V& re, V& im) {
  const V h = hn::Set(d, static_cast<hn::TFromD<D>>(std::numbers::sqrt2 / 2));
  const V r = hn::Mul(h, hn::Add(re, im));
  im = hn::Mul(h, hn::Sub(im, re));
  re = r;
}
template <class D, class V>
HWY_INLINE void rotate_three_eighths(D d, V& re, V& im) {
  const V h = hn::Set(d, static_cast<hn::TFromD<D>>(std::numbers::sqrt2 / 2));
  const V r = hn::Mul(h, hn::Sub(im, re));
  im = hn::Neg(hn::Mul(h, hn::Add(re, im)));
  re = r;
}

template <bool kStarted, class D, class V>
HWY_INLINE void butterfly8(D d, V* HWY_RESTRICT re, V* HWY_RESTRICT im) {
  butterfly4<kStarted>(d, re[0], im[0], re[2], im[2], re[4], im[4], re[6], im[6]);
  butterfly4<kStarted>(d, re[1], im[1], re[3], im[3], re[5], im[5], re[7], im[7]);
  // Even outputs E0..E3 are in 0, 2, 4, 6, odd ones O0..O3 in 1, 3, 5, 7; X[k] = E_k + w^k O_k, X[k+4] = E_k - w^k O_k.
  rotate_eighth(d, re[3], im[3]);
  rotate_three_eighths(d, re[7], im[7]);
  const V o2r = im[5], o2i = hn::Neg(re[5]);
  const V x0r = hn::Add(re[0], re[1]), x0i = hn::Add(im[0], im[1]);
  const V x4r = hn::Sub(re[0], re[1]), x4i = hn::Sub(im[0], im[1]);
  const V x1r = hn::Add(re[2], re[3]), x1i = hn::Add(im[2], im[3]);
  const V x5r = hn::Sub(re[2], re[3]), x5i = hn::Sub(im[2], im[3]);
  const V x2r = hn::Add(re[4], o2r), x2i = hn::Add(im[4], o2i);
  const V x6r = hn::Sub(re[4], o2r), x6i = hn::Sub(im[4], o2i);
  const V x3r = hn::Add(re[6], re[7]), x3i = hn::Add(im[6], im[7]);
  const V x7r = hn::Sub(re[6], re[7]), x7i = hn::Sub(im[6], im[7]);
  re[0] = x0r, im[0] = x0i, re[1] = x1r, im[1] = x1i, re[2] = x2r, im[2] = x2i, re[3] = x3r, im[3] = x3i;
  re[4] = x4r, im[4] = x4i, re[5] = x5r, im[5] = x5i, re[6] = x6r, im[6] = x6i, re[7] = x7r, im[7] = x7i;
}

// (re + i im) times (c - i s)
template <class D, class V>
HWY_INLINE void rotate(D d, double c, double s, V& re, V& im) {
  const V vc = hn::Set(d, static_cast<hn::TFromD<D>>(c)), vs = hn::Set(d, static_cast<hn::TFromD<D>>(s));
  const V r = hn::MulAdd(im, vs, hn::Mul(re, vc));
  im = hn::NegMulAdd(re, vs, hn::Mul(im, vc));
  re = r;
}

template <bool kStarted, class D, class V>
HWY_INLINE void butterfly16(D d, V* HWY_RESTRICT re, V* HWY_RESTRICT im) {
  constexpr double c1 = 0.92387953251128675613, s1 = 0.38268343236508977173;  // cos, sin of pi / 8
  // 4 x 4: columns, twiddles, rows; output k + 4 l comes out at 4 k + l.
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    butterfly4<kStarted>(d, re[j], im[j], re[j + 4], im[j + 4], re[j + 8], im[j + 8], re[j + 12], im[j + 12]);
  }
  rotate(d, c1, s1, re[5], im[5]);
  rotate_eighth(d, re[6], im[6]);
  rotate(d, s1, c1, re[7], im[7]);
  rotate_eighth(d, re[9], im[9]);
  const V t = re[10];
  re[10] = im[10];
  im[10] = hn::Neg(t);
  rotate_three_eighths(d, re[11], im[11]);
  rotate(d, s1, c1, re[13], im[13]);
  rotate_three_eighths(d, re[14], im[14]);
  rotate(d, -c1, -s1, re[15], im[15]);
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    butterfly4(d, re[4 * k], im[4 * k], re[4 * k + 1], im[4 * k + 1], re[4 * k + 2], im[4 * k + 2], re[4 * k + 3],
               im[4 * k + 3]);
  }
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
#pragma GCC unroll 4
    for (int l = k + 1; l < 4; ++l) {
      const V r = re[4 * k + l], i = im[4 * k + l];
      re[4 * k + l] = re[4 * l + k];
      im[4 * k + l] = im[4 * l + k];
      re[4 * l + k] = r;
      im[4 * l + k] = i;
    }
  }
}

// In-order transform of R values, in place. kStarted for even R only.
template <int R, bool kStarted = false, class D, class V>
HWY_INLINE void butterfly(D d, V* HWY_RESTRICT re, V* HWY_RESTRICT im) {
  if constexpr (R == 2) {
    if constexpr (!kStarted) butterfly2(d, re[0], im[0], re[1], im[1]);
  } else if constexpr (R == 4) {
    butterfly4<kStarted>(d, re[0], im[0], re[1], im[1], re[2], im[2], re[3], im[3]);
  } else if constexpr (R == 8) {
    butterfly8<kStarted>(d, re, im);
  } else if constexpr (R == 16) {
    butterfly16<kStarted>(d, re, im);
  } else {
    butterfly_odd<R>(d, re, im);
  }
}

// (re + i im) *= (wr + i wi)
template <class V>
HWY_INLINE void multiply(V& re, V& im, V wr, V wi) {
  const V r = hn::NegMulAdd(im, wi, hn::Mul(re, wr));
  im = hn::MulAdd(re, wi, hn::Mul(im, wr));
  re = r;
}

}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#endif
