#include "blocks/elementwise/elementwise.h"

#include <cmath>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "blocks/elementwise/elementwise.cc"
// clang-format off
#include "runtime/cpu/targets.h"
#include "hwy/foreach_target.h"
#include "runtime/cpu/highway.h"
#include "hwy/contrib/math/math-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// ln for every argument: Highway's is for positive finite ones.
template <class D, class V>
HWY_INLINE V natural_log(D d, V x) {
  using T = hn::TFromD<D>;
  const V infinity = hn::Set(d, std::numeric_limits<T>::infinity());
  const V zero = hn::Zero(d);
  const V nan = hn::Set(d, std::numeric_limits<T>::quiet_NaN());
  const V special =
      hn::IfThenElse(hn::Eq(x, zero), hn::Neg(infinity), hn::IfThenElse(hn::Eq(x, infinity), infinity, nan));
  const auto ordinary = hn::And(hn::Gt(x, zero), hn::Lt(x, infinity));
  return hn::IfThenElse(ordinary, hn::Log(d, hn::IfThenElse(ordinary, x, hn::Set(d, T{1}))), special);
}

// The whole array, its last values through a buffer, so that every value sees the same arithmetic.
template <typename T, class F>
HWY_INLINE void for_each(T* HWY_RESTRICT v, std::int64_t count, F f) {
  const hn::ScalableTag<T> d;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(f(d, hn::LoadU(d, v + i)), d, v + i);
  if (i == count) return;
  HWY_ALIGN T tail[hn::MaxLanes(d)];
  for (std::int64_t j = 0; j < lanes; ++j) tail[j] = i + j < count ? v[i + j] : T{1};
  hn::Store(f(d, hn::Load(d, tail)), d, tail);
  for (std::int64_t j = 0; i + j < count; ++j) v[i + j] = tail[j];
}

// b = f(a, b), likewise.
template <typename T, class F>
HWY_INLINE void for_each_pair(const T* HWY_RESTRICT a, T* HWY_RESTRICT b, std::int64_t count, F f) {
  const hn::ScalableTag<T> d;
  const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(f(d, hn::LoadU(d, a + i), hn::LoadU(d, b + i)), d, b + i);
  if (i == count) return;
  HWY_ALIGN T tail[2 * hn::MaxLanes(d)];
  for (std::int64_t j = 0; j < lanes; ++j) {
    tail[j] = i + j < count ? a[i + j] : T{1};
    tail[lanes + j] = i + j < count ? b[i + j] : T{1};
  }
  hn::Store(f(d, hn::Load(d, tail), hn::Load(d, tail + lanes)), d, tail);
  for (std::int64_t j = 0; i + j < count; ++j) b[i + j] = tail[j];
}

struct Root {
  template <class D, class V>
  HWY_INLINE V operator()(D, V x) const {
    return hn::Sqrt(x);
  }
};

// x^exponent in float64 for x >= 0, infinity and NaN; exponent != 0. Highway's exponential ends at 706.
template <class D, class V>
HWY_INLINE V raised(D d, V x, double exponent) {
  constexpr double kLargest = 706.0, kInfinity = std::numeric_limits<double>::infinity();
  const V infinity = hn::Set(d, kInfinity), largest = hn::Set(d, kLargest);
  const V log = hn::Mul(hn::Set(d, exponent), natural_log(d, x));
  const V y = hn::IfThenElse(hn::Gt(log, largest), infinity, hn::Exp(d, hn::Min(log, largest)));
  const V limit = exponent > 0 ? x : hn::Div(hn::Set(d, 1.0), x);
  return hn::IfThenElse(hn::Lt(x, infinity), y, limit);
}

struct Power {
  double half;
  template <class D, class V>
  HWY_INLINE V operator()(D d, V x) const {
    return hn::IfThenElse(hn::Eq(x, hn::Zero(d)), x, raised(d, x, half));
  }
};

template <typename T>
struct Logarithm {
  T scale, mul, add, floor, offset;
  explicit Logarithm(const LogParams& p)
      : scale(static_cast<T>(p.scale)),
        mul(static_cast<T>(p.mul)),
        add(static_cast<T>(p.add)),
        floor(static_cast<T>(p.floor)),
        offset(static_cast<T>(p.offset)) {}
  template <class D, class V>
  HWY_INLINE V operator()(D d, V x) const {
    const V argument = hn::MulAdd(hn::Set(d, mul), x, hn::Set(d, add));
    const V low = hn::Set(d, floor);
    // Not Max: given a NaN, NEON's takes the other argument.
    const V clamped = hn::IfThenElse(hn::Lt(argument, low), low, argument);
    return hn::MulAdd(hn::Set(d, scale), natural_log(d, clamped), hn::Set(d, offset));
  }
};

struct RootSlope {
  template <class D, class V>
  HWY_INLINE V operator()(D d, V x) const {
    using T = hn::TFromD<D>;
    const V y = hn::Div(hn::Set(d, T{1}), hn::Sqrt(x));
    return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, std::numeric_limits<T>::min())), y);
  }
};

struct PowerSlope {
  double exponent, least;
  template <class D, class V>
  HWY_INLINE V operator()(D d, V x) const {
    return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, least)), raised(d, x, exponent));
  }
};

template <typename T>
struct LogarithmSlope {
  T slope, mul, add, floor;
  explicit LogarithmSlope(const LogParams& p)
      : slope(static_cast<T>(p.scale * p.mul)),
        mul(static_cast<T>(p.mul)),
        add(static_cast<T>(p.add)),
        floor(static_cast<T>(p.floor)) {}
  template <class D, class V>
  HWY_INLINE V operator()(D d, V x, V grad) const {
    const V argument = hn::MulAdd(hn::Set(d, mul), x, hn::Set(d, add));
    const V product = hn::Mul(grad, hn::Div(hn::Set(d, slope), argument));
    return hn::IfThenZeroElse(hn::Le(argument, hn::Set(d, floor)), product);  // not Gt: NaN stays NaN
  }
};

void PowerF64(double* v, std::int64_t count, double power) {
  if (power == 1) {
    for_each(v, count, Root());
  } else if (power != 2) {
    for_each(v, count, Power{power / 2});
  }
}

// The array in float64, block by block.
template <class F>
void widened(float* v, std::int64_t count, F f) {
  constexpr std::int64_t kBlock = 256;
  double wide[kBlock];
  for (std::int64_t first = 0; first < count; first += kBlock) {
    const std::int64_t n = HWY_MIN(kBlock, count - first);
    for (std::int64_t i = 0; i < n; ++i) wide[i] = static_cast<double>(v[first + i]);
    for_each(wide, n, f);
    for (std::int64_t i = 0; i < n; ++i) v[first + i] = static_cast<float>(wide[i]);
  }
}

void PowerF32(float* v, std::int64_t count, double power) {
  if (power == 2) return;
  if (power == 1) return for_each(v, count, Root());
  widened(v, count, Power{power / 2});
}
void PowerSlopeF64(double* v, std::int64_t count, double power) {
  if (power == 1) return for_each(v, count, RootSlope());
  for_each(v, count, PowerSlope{power / 2 - 1, std::numeric_limits<double>::min()});
}
void PowerSlopeF32(float* v, std::int64_t count, double power) {
  if (power == 1) return for_each(v, count, RootSlope());
  widened(v, count, PowerSlope{power / 2 - 1, static_cast<double>(std::numeric_limits<float>::min())});
}
void LogF32(float* v, std::int64_t count, const LogParams& params) { for_each(v, count, Logarithm<float>(params)); }
void LogF64(double* v, std::int64_t count, const LogParams& params) { for_each(v, count, Logarithm<double>(params)); }
void LogBackwardF32(const float* v, float* grad, std::int64_t count, const LogParams& params) {
  for_each_pair(v, grad, count, LogarithmSlope<float>(params));
}
void LogBackwardF64(const double* v, double* grad, std::int64_t count, const LogParams& params) {
  for_each_pair(v, grad, count, LogarithmSlope<double>(params));
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace melisma {
HWY_EXPORT(PowerF32);
HWY_EXPORT(PowerF64);
HWY_EXPORT(LogF32);
HWY_EXPORT(LogF64);
HWY_EXPORT(PowerSlopeF32);
HWY_EXPORT(PowerSlopeF64);
HWY_EXPORT(LogBackwardF32);
HWY_EXPORT(LogBackwardF64);

void power_of_squares(float* v, std::int64_t count, double power) { HWY_DYNAMIC_DISPATCH(PowerF32)(v, count, power); }
void power_of_squares(double* v, std::int64_t count, double power) { HWY_DYNAMIC_DISPATCH(PowerF64)(v, count, power); }
void logarithm(float* v, std::int64_t count, const LogParams& params) {
  HWY_DYNAMIC_DISPATCH(LogF32)(v, count, params);
}
void logarithm(double* v, std::int64_t count, const LogParams& params) {
  HWY_DYNAMIC_DISPATCH(LogF64)(v, count, params);
}
void power_slopes(float* v, std::int64_t count, double power) { HWY_DYNAMIC_DISPATCH(PowerSlopeF32)(v, count, power); }
void power_slopes(double* v, std::int64_t count, double power) { HWY_DYNAMIC_DISPATCH(PowerSlopeF64)(v, count, power); }
void logarithm_backward(const float* v, float* grad, std::int64_t count, const LogParams& params) {
  HWY_DYNAMIC_DISPATCH(LogBackwardF32)(v, grad, count, params);
}
void logarithm_backward(const double* v, double* grad, std::int64_t count, const LogParams& params) {
  HWY_DYNAMIC_DISPATCH(LogBackwardF64)(v, grad, count, params);
}

}  // namespace melisma
#endif
