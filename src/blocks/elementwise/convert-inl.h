// Vectors from and to arrays of float16, bfloat16, float32 and float64: rounded to nearest even, NaN stays NaN.

// clang-format off
#if defined(MELISMA_BLOCKS_ELEMENTWISE_CONVERT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MELISMA_BLOCKS_ELEMENTWISE_CONVERT_INL_H_
#undef MELISMA_BLOCKS_ELEMENTWISE_CONVERT_INL_H_
#else
#define MELISMA_BLOCKS_ELEMENTWISE_CONVERT_INL_H_
#endif
// clang-format on

#include <cstring>
#include <type_traits>

#include "blocks/elementwise/scalar_types.h"
#include "hwy/cache_control.h"
#include "runtime/cpu/highway.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class D>
HWY_INLINE hn::Vec<D> load_as(D d, const hn::TFromD<D>* p) {
  return hn::LoadU(d, p);
}

template <class D>
HWY_INLINE hn::Vec<D> load_as(D d, const BFloat16* p) {
  const hn::Rebind<std::uint16_t, D> d16;
  const hn::RebindToUnsigned<D> du;
  const auto bits = hn::PromoteTo(du, hn::LoadU(d16, reinterpret_cast<const std::uint16_t*>(p)));
  return hn::BitCast(d, hn::ShiftLeft<16>(bits));
}

template <class D>
HWY_INLINE hn::Vec<D> load_as(D d, const Float16* p) {
  const hn::Rebind<std::uint16_t, D> d16;
#if HWY_TARGET == HWY_SSE4
  // No instruction: the exponent's bias is corrected by a multiplication, which does denormals too.
  const hn::RebindToUnsigned<D> du;
  const auto bits = hn::PromoteTo(du, hn::LoadU(d16, reinterpret_cast<const std::uint16_t*>(p)));
  const auto magnitude = hn::And(bits, hn::Set(du, 0x7FFF));
  const auto sign = hn::ShiftLeft<16>(hn::Xor(bits, magnitude));
  const auto scaled = hn::Mul(hn::BitCast(d, hn::ShiftLeft<13>(magnitude)), hn::Set(d, 0x1p112f));
  const auto special = hn::Or(hn::ShiftLeft<13>(magnitude), hn::Set(du, 0x7F800000));
  const auto is_special =
      hn::Gt(hn::BitCast(hn::RebindToSigned<D>(), magnitude), hn::Set(hn::RebindToSigned<D>(), 0x7BFF));
  const auto value = hn::IfThenElse(hn::RebindMask(du, is_special), special, hn::BitCast(du, scaled));
  return hn::BitCast(d, hn::Or(value, sign));
#else
  const hn::Rebind<hwy::float16_t, D> dh;
  return hn::PromoteTo(d, hn::BitCast(dh, hn::LoadU(d16, reinterpret_cast<const std::uint16_t*>(p))));
#endif
}

template <class D>
HWY_INLINE void store_as(D d, hn::Vec<D> v, hn::TFromD<D>* p) {
  hn::StoreU(v, d, p);
}

template <class D>
HWY_INLINE void store_low_halves(D, hn::Vec<hn::RebindToUnsigned<D>> bits, void* p) {
  const hn::Rebind<std::uint16_t, D> d16;
  hn::StoreU(hn::TruncateTo(d16, bits), d16, static_cast<std::uint16_t*>(p));
}

// v rounded to bfloat16 in the upper half of each lane; the lower half is anything. kAnyNan false: a NaN's lower half
// is 0, as that of every NaN which comes out of arithmetic on bfloat16, plain NaNs and numbers.
template <bool kAnyNan, class D>
HWY_INLINE hn::Vec<hn::RebindToUnsigned<D>> bfloat16_in_upper([[maybe_unused]] D d, hn::Vec<D> v) {
  const hn::RebindToUnsigned<D> du;
  const auto bits = hn::BitCast(du, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1));
  const auto rounded = hn::Add(hn::Add(bits, hn::Set(du, 0x7FFF)), odd);
  if constexpr (!kAnyNan) return rounded;
  return hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(v)), hn::Or(bits, hn::Set(du, 0x400000)), rounded);
}

template <class D>
HWY_INLINE void store_as(D d, hn::Vec<D> v, BFloat16* p) {
  store_low_halves(d, hn::ShiftRight<16>(bfloat16_in_upper<true>(d, v)), p);
}

template <class D>
HWY_INLINE void store_as([[maybe_unused]] D d, hn::Vec<D> v, Float16* p) {
#if HWY_TARGET == HWY_SSE4
  // As float_to_half.
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;
  const auto bits = hn::BitCast(du, v);
  const auto magnitude = hn::And(bits, hn::Set(du, 0x7FFFFFFF));
  const auto sign = hn::ShiftRight<16>(hn::Xor(bits, magnitude));
  const auto odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(du, 1));
  const auto normal = hn::ShiftRight<13>(hn::Add(hn::Sub(magnitude, hn::Set(du, 0x38000000 - 0xFFF)), odd));
  const auto denormal =
      hn::Sub(hn::BitCast(du, hn::Add(hn::BitCast(d, magnitude), hn::Set(d, 0.5f))), hn::Set(du, 0x3F000000));
  const auto nan = hn::Or(hn::Set(du, 0x7E00), hn::And(hn::ShiftRight<13>(magnitude), hn::Set(du, 1023)));
  const auto above = [&](int limit) {
    return hn::RebindMask(du, hn::Gt(hn::BitCast(di, magnitude), hn::Set(di, limit)));
  };
  auto result = hn::IfThenElse(above(0x387FFFFF), normal, denormal);
  result = hn::IfThenElse(above(0x477FEFFF), hn::Set(du, 0x7C00), result);
  result = hn::IfThenElse(above(0x7F800000), nan, result);
  store_low_halves(d, hn::Or(result, sign), p);
#else
  const hn::Rebind<hwy::float16_t, D> dh;
  const hn::Rebind<std::uint16_t, D> d16;
  hn::StoreU(hn::BitCast(d16, hn::DemoteTo(dh, v)), d16, reinterpret_cast<std::uint16_t*>(p));
#endif
}

// Past the caches, to memory that is aligned to a vector; hwy::FlushStream() stands behind the last. Values that have
// to be converted go the usual way.
template <class D, typename E>
HWY_INLINE void stream_as(D d, hn::Vec<D> v, E* p) {
  if constexpr (std::is_same_v<hn::TFromD<D>, E>) {
    hn::Stream(v, d, p);
  } else {
    store_as(d, v, p);
  }
}

// Elements from p to the first vector's alignment.
template <class D>
HWY_INLINE std::int64_t elements_to_alignment([[maybe_unused]] D d, const void* p) {
  const std::uintptr_t vector = hn::Lanes(d) * sizeof(hn::TFromD<D>);
  return static_cast<std::int64_t>((0 - reinterpret_cast<std::uintptr_t>(p)) % vector / sizeof(hn::TFromD<D>));
}

// The first `count` lanes, 1 <= count <= lanes; the others are 0.
template <class D, typename E>
HWY_INLINE hn::Vec<D> load_some(D d, const E* p, std::int64_t count) {
  E values[hn::MaxLanes(D())] = {};
  std::memcpy(values, p, static_cast<std::size_t>(count) * sizeof(E));
  return load_as(d, values);
}

template <class D, typename E>
HWY_INLINE void store_some(D d, hn::Vec<D> v, E* p, std::int64_t count) {
  E values[hn::MaxLanes(D())];
  store_as(d, v, values);
  std::memcpy(p, values, static_cast<std::size_t>(count) * sizeof(E));
}

// bfloat16 without shuffles: in 32 bits lie two neighbours, of which the second is a float32 but for its lower half,
// and the first is one when shifted.
template <class D>
HWY_INLINE hn::Vec<hn::RebindToUnsigned<D>> load_pairs(D, const BFloat16* p) {
  const hn::Repartition<std::uint16_t, D> d16;
  return hn::BitCast(hn::RebindToUnsigned<D>(), hn::LoadU(d16, reinterpret_cast<const std::uint16_t*>(p)));
}
template <class D>
HWY_INLINE hn::Vec<D> first_of_pairs(D d, hn::Vec<hn::RebindToUnsigned<D>> pairs) {
  return hn::BitCast(d, hn::ShiftLeft<16>(pairs));
}
template <class D>
HWY_INLINE hn::Vec<D> second_of_pairs(D d, hn::Vec<hn::RebindToUnsigned<D>> pairs) {
  return hn::BitCast(d, hn::And(pairs, hn::Set(hn::RebindToUnsigned<D>(), 0xFFFF0000u)));
}
// kAnyNan: see bfloat16_in_upper.
template <bool kAnyNan, class D>
HWY_INLINE hn::Vec<hn::Repartition<std::uint16_t, D>> pairs_of(D d, hn::Vec<D> first, hn::Vec<D> second) {
  const hn::Repartition<std::uint16_t, D> d16;
  const auto low = hn::ShiftRight<16>(bfloat16_in_upper<kAnyNan>(d, first));
  return hn::OddEven(hn::BitCast(d16, bfloat16_in_upper<kAnyNan>(d, second)), hn::BitCast(d16, low));
}

// Whether arrays of E are converted to C a vector at a time.
template <typename C, typename E>
inline constexpr bool kConvertsInVectors = std::is_same_v<C, E> || (std::is_same_v<C, float> && sizeof(E) == 2);

// to[i] = from[i * stride].
template <typename C, typename E>
HWY_INLINE void gather(const E* from, std::int64_t stride, std::int64_t count, C* HWY_RESTRICT to) {
  std::int64_t i = 0;
  if constexpr (kConvertsInVectors<C, E>) {
    if (stride == 1) {
      const hn::ScalableTag<C> d;
      const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
      for (; i + lanes <= count; i += lanes) hn::StoreU(load_as(d, from + i), d, to + i);
    }
  }
  for (; i < count; ++i) to[i] = to_scalar<C>(from[i * stride]);
}

// to[i * stride] = from[i].
template <typename C, typename E>
HWY_INLINE void scatter(const C* HWY_RESTRICT from, std::int64_t count, E* to, std::int64_t stride) {
  std::int64_t i = 0;
  if constexpr (kConvertsInVectors<C, E>) {
    if (stride == 1) {
      const hn::ScalableTag<C> d;
      const std::int64_t lanes = static_cast<std::int64_t>(hn::Lanes(d));
      for (; i + lanes <= count; i += lanes) store_as(d, hn::LoadU(d, from + i), to + i);
    }
  }
  for (; i < count; ++i) to[i * stride] = from_scalar<E>(from[i]);
}

}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
