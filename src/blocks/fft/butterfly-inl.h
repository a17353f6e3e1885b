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
  static constexpr double c[] = {1.0,
                                 0.84125353283118116886,
                                 0.41541501300188642553,
                                 -0.14231483827328514044,
                                 -0.65486073394528506406,
                                 -0.95949297361449738989};
  static constexpr double s[] = {0.0,
                                 0.54064081745559758211,
                                 0.90963199535451837141,
                                 0.98982144188093273237,
                                 0.75574957435425828377,
                                 0.28173255684142969773};
};
template <>
struct Roots<13> {
  static constexpr double c[] = {1.0,
                                 0.88545602565320989590,
                                 0.56806474673115580251,
                                 0.12053668025532305335,
                                 -0.35460488704253562597,
                                 -0.74851074817110109863,
                                 -0.97094181742605202715};
  static constexpr double s[] = {0.0,
                                 0.46472317204376854566,
                                 0.82298386589365639457,
                                 0.99270887409805399281,
                                 0.93501624268541482344,
                                 0.66312265824079520238,
                                 0.23931566428755776715};
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

// An eighth of a turn is a sum and a difference, times sqrt(1/2). That factor is left to the next addition, where a
// fused multiply-add takes it for nothing: these give sqrt(2) times (re + i im) exp(-i pi / 4) and exp(-3 i pi / 4).
template <class V>
HWY_INLINE void rotate_eighth_unscaled(V& re, V& im) {
  const V r = hn::Add(re, im);
  im = hn::Sub(im, re);
  re = r;
}
template <class V>
HWY_INLINE void rotate_three_eighths_unscaled(V& re, V& im) {
  const V r = hn::Sub(im, re);
  im = hn::Neg(hn::Add(re, im));
  re = r;
}

// a + sqrt(1/2) b and a - sqrt(1/2) b
template <class D, class V>
HWY_INLINE void butterfly2_scaled(D d, V& ar, V& ai, V& br, V& bi) {
  const V h = hn::Set(d, static_cast<hn::TFromD<D>>(std::numbers::sqrt2 / 2));
  const V tr = hn::NegMulAdd(h, br, ar), ti = hn::NegMulAdd(h, bi, ai);
  ar = hn::MulAdd(h, br, ar);
  ai = hn::MulAdd(h, bi, ai);
  br = tr;
  bi = ti;
}

template <bool kStarted, class D, class V>
HWY_INLINE void butterfly8(D d, V* HWY_RESTRICT re, V* HWY_RESTRICT im) {
  butterfly4<kStarted>(d, re[0], im[0], re[2], im[2], re[4], im[4], re[6], im[6]);
  butterfly4<kStarted>(d, re[1], im[1], re[3], im[3], re[5], im[5], re[7], im[7]);
  // Even outputs E0..E3 are in 0, 2, 4, 6, odd ones O0..O3 in 1, 3, 5, 7; X[k] = E_k + w^k O_k, X[k+4] = E_k - w^k O_k.
  rotate_eighth_unscaled(re[3], im[3]);
  rotate_three_eighths_unscaled(re[7], im[7]);
  butterfly2_scaled(d, re[2], im[2], re[3], im[3]);  // X1, X5
  butterfly2_scaled(d, re[6], im[6], re[7], im[7]);  // X3, X7
  butterfly2(d, re[0], im[0], re[1], im[1]);         // X0, X4
  const V o2r = im[5], o2i = hn::Neg(re[5]);
  const V x2r = hn::Add(re[4], o2r), x2i = hn::Add(im[4], o2i);
  const V x6r = hn::Sub(re[4], o2r), x6i = hn::Sub(im[4], o2i);
  const V x4r = re[1], x4i = im[1], x1r = re[2], x1i = im[2], x5r = re[3], x5i = im[3], x3r = re[6], x3i = im[6];
  re[1] = x1r, im[1] = x1i, re[2] = x2r, im[2] = x2i, re[3] = x3r, im[3] = x3i;
  re[4] = x4r, im[4] = x4i, re[5] = x5r, im[5] = x5i, re[6] = x6r, im[6] = x6i;
}

// (re + i im) times (c - i s)
template <class D, class V>
HWY_INLINE void rotate(D d, double c, double s, V& re, V& im) {
  const V vc = hn::Set(d, static_cast<hn::TFromD<D>>(c)), vs = hn::Set(d, static_cast<hn::TFromD<D>>(s));
  const V r = hn::MulAdd(im, vs, hn::Mul(re, vc));
  im = hn::NegMulAdd(re, vs, hn::Mul(im, vc));
  re = r;
}

// a + b (c - i s) and a - b (c - i s), in as many operations as turning b first and a rounding less.
template <class D, class V>
HWY_INLINE void butterfly2_rotated(D d, double c, double s, V& ar, V& ai, V& br, V& bi) {
  const V vc = hn::Set(d, static_cast<hn::TFromD<D>>(c)), vs = hn::Set(d, static_cast<hn::TFromD<D>>(s));
  const V sum_r = hn::MulAdd(bi, vs, hn::MulAdd(br, vc, ar)), sum_i = hn::NegMulAdd(br, vs, hn::MulAdd(bi, vc, ai));
  const V dif_r = hn::NegMulAdd(bi, vs, hn::NegMulAdd(br, vc, ar));
  const V dif_i = hn::MulAdd(br, vs, hn::NegMulAdd(bi, vc, ai));
  ar = sum_r;
  ai = sum_i;
  br = dif_r;
  bi = dif_i;
}

template <bool kStarted, class D, class V>
HWY_INLINE void butterfly16(D d, V* HWY_RESTRICT re, V* HWY_RESTRICT im) {
  constexpr double c1 = 0.92387953251128675613, s1 = 0.38268343236508977173;  // cos, sin of pi / 8
  // 4 x 4: columns, twiddles, rows; output k + 4 l comes out at 4 k + l.
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    butterfly4<kStarted>(d, re[j], im[j], re[j + 4], im[j + 4], re[j + 8], im[j + 8], re[j + 12], im[j + 12]);
  }
  const auto finish_row = [d, re, im](int row) HWY_ATTR {  // the second level of a row's butterfly4
    V* HWY_RESTRICT r = re + row;
    V* HWY_RESTRICT i = im + row;
    butterfly4<true>(d, r[0], i[0], r[1], i[1], r[2], i[2], r[3], i[3]);
  };
  butterfly4(d, re[0], im[0], re[1], im[1], re[2], im[2], re[3], im[3]);
  // Row 1: twiddles 0, 1, 2, 3 sixteenths.
  rotate(d, c1, s1, re[5], im[5]);
  rotate_eighth_unscaled(re[6], im[6]);
  butterfly2_scaled(d, re[4], im[4], re[6], im[6]);
  butterfly2_rotated(d, s1, c1, re[5], im[5], re[7], im[7]);
  finish_row(4);
  // Row 2: 0, 2, 4, 6. The factor of inputs 1 and 3 waits for the second level.
  rotate_eighth_unscaled(re[9], im[9]);
  rotate_three_eighths_unscaled(re[11], im[11]);
  const V t = re[10];
  re[10] = im[10];
  im[10] = hn::Neg(t);
  butterfly2(d, re[8], im[8], re[10], im[10]);
  butterfly2(d, re[9], im[9], re[11], im[11]);
  butterfly2_scaled(d, re[8], im[8], re[9], im[9]);      // outputs 0 and 2
  V down_r = im[11], down_i = hn::Neg(re[11]);           // -i times the difference
  butterfly2_scaled(d, re[10], im[10], down_r, down_i);  // outputs 1 and 3
  const V out2r = re[9], out2i = im[9];
  re[9] = re[10], im[9] = im[10], re[10] = out2r, im[10] = out2i, re[11] = down_r, im[11] = down_i;
  // Row 3: 0, 3, 6, 9.
  rotate(d, s1, c1, re[13], im[13]);
  rotate_three_eighths_unscaled(re[14], im[14]);
  butterfly2_scaled(d, re[12], im[12], re[14], im[14]);
  butterfly2_rotated(d, -c1, -s1, re[13], im[13], re[15], im[15]);
  finish_row(12);
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
