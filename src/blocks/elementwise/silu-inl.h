// silu(h) = h / (1 + exp(-h)) and its slope, of vectors.
//
// The exponential is kept as p 2^n until it is added to 1, so that nothing overflows and results down to the smallest
// denormal are rounded once; -inf gives -0, NaN stays NaN. Error over float32: measured 1.65 ulp. For results that
// are rounded to float16 or bfloat16 there is a shorter form with a relative error of 2^-16: 2^-5 of what a rounding to
// float16 may be.

// clang-format off
#if defined(MELISMA_BLOCKS_ELEMENTWISE_SILU_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MELISMA_BLOCKS_ELEMENTWISE_SILU_INL_H_
#undef MELISMA_BLOCKS_ELEMENTWISE_SILU_INL_H_
#else
#define MELISMA_BLOCKS_ELEMENTWISE_SILU_INL_H_
#endif
// clang-format on

#include <cstddef>
#include <cstdint>

#include "runtime/cpu/highway.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// exp(a) = (1 + t) 2^n, t in [-0.3, 0.42].
template <class D>
struct SplitExp {
  hn::Vec<D> t;
  hn::Vec<hn::RebindToSigned<D>> n;  // plus the exponent's bias, in the lowest bits
};

template <typename T>
struct ExpTable;
template <>
struct ExpTable<float> {
  static constexpr float kMost = 120.0f;   // 120 exp(-120) is 0
  static constexpr float kNormal = 87.0f;  // exp(-87) is a normal number, and 1 + exp(-87) is 1
  static constexpr float kFar = 16.0f;     // 1 + 2^23 is exact, and exp(-16)^2 is nothing beside 1
  static constexpr int kShift = 64;        // exp(-120) 2^64 is normal
  static constexpr float kShiftBack = 0x1p-64f;
  // Adding it leaves an integer in the lowest bits, with the exponent's bias.
  static constexpr float kRound = 12582912.0f + 127.0f;
  static constexpr int kMantissa = 23;
  static constexpr float kLog2E = 1.44269504f;
  // ln 2 in two parts, the first with so few bits that its product with n is exact.
  static constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  // exp(r) = 1 + r + r^2 (c0 + c1 r + ...), minimax over |r| <= ln(2) / 2 (Cephes expf).
  static constexpr float kSeries[] = {5.0000001201e-1f, 1.6666665459e-1f, 4.1665795894e-2f,
                                      8.3334519073e-3f, 1.3981999507e-3f, 1.9875691500e-4f};
};
template <>
struct ExpTable<double> {
  static constexpr double kMost = 760.0, kNormal = 708.0;
  static constexpr double kFar = 36.0;
  static constexpr int kShift = 512;
  static constexpr double kShiftBack = 0x1p-512;
  static constexpr double kRound = 6755399441055744.0 + 1023.0;
  static constexpr int kMantissa = 52;
  static constexpr double kLog2E = 1.4426950408889634;
  static constexpr double kLn2High = 6.93147180369123816490e-01, kLn2Low = 1.90821492927058770002e-10;
  // Taylor's: the first term left out is 7e-18 at |r| = ln(2) / 2.
  static constexpr double kSeries[] = {1.0 / 2,       1.0 / 6,        1.0 / 24,        1.0 / 120,
                                       1.0 / 720,     1.0 / 5040,     1.0 / 40320,     1.0 / 362880,
                                       1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800.0};
};

// |a| <= kMost
template <class D, class V = hn::Vec<D>>
HWY_INLINE SplitExp<D> split_exp(D d, V a) {
  using T = hn::TFromD<D>;
  using Table = ExpTable<T>;
  const hn::RebindToSigned<D> di;
  const V rounded = hn::MulAdd(a, hn::Set(d, Table::kLog2E), hn::Set(d, Table::kRound));
  const V turns = hn::Sub(rounded, hn::Set(d, Table::kRound));
  const V r = hn::NegMulAdd(turns, hn::Set(d, Table::kLn2Low), hn::NegMulAdd(turns, hn::Set(d, Table::kLn2High), a));
  // Pairs of terms side by side, then Horner's rule in r^2: half the latency at the same count.
  constexpr int kTerms = sizeof(Table::kSeries) / sizeof(T);
  static_assert(kTerms % 2 == 0);
  const V r2 = hn::Mul(r, r);
  const auto pair = [&](int i) HWY_ATTR {
    return hn::MulAdd(hn::Set(d, Table::kSeries[i + 1]), r, hn::Set(d, Table::kSeries[i]));
  };
  V sum = pair(kTerms - 2);
  for (int i = kTerms - 4; i >= 0; i -= 2) sum = hn::MulAdd(sum, r2, pair(i));
  return {hn::MulAdd(r2, sum, r), hn::BitCast(di, rounded)};
}

// n: as SplitExp's, of a normal number.
template <class D>
HWY_INLINE hn::Vec<D> power_of_two(D d, hn::Vec<hn::RebindToSigned<D>> n) {
  return hn::BitCast(d, hn::ShiftLeft<ExpTable<hn::TFromD<D>>::kMantissa>(n));
}

// -kFar <= h <= kNormal: 1 + exp(-h) with one rounding.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V silu_near(D d, V h) {
  const SplitExp<D> e = split_exp(d, hn::Neg(h));
  const V power = power_of_two(d, e.n);
  return hn::Div(h, hn::MulAdd(e.t, power, hn::Add(power, hn::Set(d, 1))));
}

// y, and where h is not near, silu(h): h itself above, and below q - q exp(h), q = h exp(h), whose power of two is
// brought in in two steps, the second of which rounds a denormal. noexcept: where it may throw, GCC 12 breaks off at
// -O1.
template <class D, class V = hn::Vec<D>>
HWY_NOINLINE V silu_far(D d, V h, V y) noexcept {
  using Table = ExpTable<hn::TFromD<D>>;
  const hn::RebindToSigned<D> di;
  const V limit = hn::Set(d, -Table::kFar), lowest = hn::Set(d, -Table::kMost);
  const auto far = hn::Lt(h, limit);
  const V low = hn::IfThenElse(far, hn::IfThenElse(hn::Lt(h, lowest), lowest, h), limit);
  const SplitExp<D> f = split_exp(d, low);
  const V tiny =
      power_of_two(d, hn::Max(f.n, hn::Add(hn::BitCast(di, hn::Set(d, Table::kRound)), hn::Set(di, -Table::kShift))));
  const V q = hn::MulAdd(low, f.t, low);
  const V corrected = hn::NegMulAdd(q, hn::MulAdd(f.t, tiny, tiny), q);
  const V shifted = hn::Mul(corrected, power_of_two(d, hn::Add(f.n, hn::Set(di, Table::kShift))));
  y = hn::IfThenElse(hn::Gt(h, hn::Set(d, Table::kNormal)), h, y);
  return hn::IfThenElse(far, hn::Mul(shifted, hn::Set(d, Table::kShiftBack)), y);
}

// For results of float16 and bfloat16, |h| <= kRoughNear: exp(-h) with a relative error of 2^-18.
inline constexpr float kRoughNear = 80.0f;
template <class D, class V = hn::Vec<D>>
HWY_INLINE V silu_rough_near(D d, V h) {
  const hn::RebindToSigned<D> di;
  using Table = ExpTable<float>;
  const V log2e = hn::Set(d, -Table::kLog2E), round = hn::Set(d, Table::kRound), one = hn::Set(d, 1.0f);
  const V rounded = hn::MulAdd(h, log2e, round);
  const V f = hn::MulSub(h, log2e, hn::Sub(rounded, round));
  // 2^f, minimax of the relative error over |f| <= 1/2 among those which are 1 at 0.
  const V f2 = hn::Mul(f, f);
  const V low = hn::MulAdd(hn::Set(d, 0.6931136f), f, one);
  const V middle = hn::MulAdd(hn::Set(d, 0.055976883f), f, hn::Set(d, 0.2402071f));
  const V p = hn::MulAdd(hn::MulAdd(hn::Set(d, 0.009782912f), f2, middle), f2, low);
  return hn::Div(h, hn::MulAdd(p, power_of_two(d, hn::BitCast(di, rounded)), one));
}
// y, and where h is not near, silu(h): above that is h.
template <class D, class V = hn::Vec<D>>
HWY_NOINLINE V silu_rough_far(D d, V h, V y) noexcept {
  return hn::IfThenElse(hn::Gt(hn::Abs(h), hn::Set(d, kRoughNear)), silu_far(d, h, h), y);
}

enum class Silu : std::uint8_t { kNone, kExact, kRough };

// What results of type E ask for.
template <typename E>
constexpr Silu silu_for(bool wanted) {
  return !wanted ? Silu::kNone : sizeof(E) == 2 ? Silu::kRough : Silu::kExact;
}

// silu of N vectors, each lane for itself: they share only the look at whether all of them are near.
template <Silu kSilu, class D, std::size_t N, class V = hn::Vec<D>>
HWY_INLINE void apply_silu(D d, V (&h)[N]) {
  using T = hn::TFromD<D>;
  if constexpr (kSilu == Silu::kNone) return;
  // A NaN is near or not, but it must not hide another vector's value: where one argument is a NaN, x86 takes the
  // second.
  V least = h[0], most = h[0], y[N];
  bool near;
  if constexpr (kSilu == Silu::kRough) {
    most = hn::Abs(most);
    HWY_UNROLL(8)
    for (std::size_t i = 1; i < N; ++i) most = hn::Max(hn::Abs(h[i]), most);
    near = hn::AllTrue(d, hn::Le(most, hn::Set(d, kRoughNear)));
  } else {
    HWY_UNROLL(8)
    for (std::size_t i = 1; i < N; ++i) {
      least = hn::Min(h[i], least);
      most = hn::Max(h[i], most);
    }
    near = hn::AllTrue(
        d, hn::And(hn::Ge(least, hn::Set(d, -ExpTable<T>::kFar)), hn::Le(most, hn::Set(d, ExpTable<T>::kNormal))));
  }
  HWY_UNROLL(8)
  for (std::size_t i = 0; i < N; ++i) y[i] = kSilu == Silu::kRough ? silu_rough_near(d, h[i]) : silu_near(d, h[i]);
  if (HWY_UNLIKELY(!near)) {
    for (std::size_t i = 0; i < N; ++i)
      y[i] = kSilu == Silu::kRough ? silu_rough_far(d, h[i], y[i]) : silu_far(d, h[i], y[i]);
  }
  for (std::size_t i = 0; i < N; ++i) h[i] = y[i];
}

// d silu / dh = s (1 + h (1 - s)), s = 1 / (1 + exp(-h)); 0 at -inf, 1 at +inf.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V silu_slope(D d, V h) {
  using T = hn::TFromD<D>;
  using Table = ExpTable<T>;
  const V most = hn::Set(d, Table::kNormal), one = hn::Set(d, T{1});
  h = hn::IfThenElse(hn::Lt(h, hn::Neg(most)), hn::Neg(most), h);
  h = hn::IfThenElse(hn::Gt(h, most), most, h);
  const SplitExp<D> e = split_exp(d, hn::Neg(hn::Abs(h)));
  const V two_to_n = power_of_two(d, e.n), power = hn::MulAdd(e.t, two_to_n, two_to_n);
  const V large = hn::Div(one, hn::Add(power, one));  // of the two sigmoids of h and -h
  const V small = hn::Mul(power, large);
  const auto negative = hn::Lt(h, hn::Zero(d));
  const V s = hn::IfThenElse(negative, small, large), rest = hn::IfThenElse(negative, large, small);
  return hn::Mul(s, hn::MulAdd(h, rest, one));
}

}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
