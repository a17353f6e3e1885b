// Interleaving real and imaginary parts, in order and reversed.
//
// On AVX-512 one two-table permutation makes each result; Highway's StoreInterleaved2 takes three shuffles, and six
// with the reversal. It is a tenth of the STFT at n_fft 1024.

// clang-format off
#if defined(MELISMA_BLOCKS_FFT_INTERLEAVE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MELISMA_BLOCKS_FFT_INTERLEAVE_INL_H_
#undef MELISMA_BLOCKS_FFT_INTERLEAVE_INL_H_
#else
#define MELISMA_BLOCKS_FFT_INTERLEAVE_INL_H_
#endif
// clang-format on

#include "runtime/cpu/highway.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// low, high: re and im interleaved, first and second half. Reversed: of the lanes in reverse order.
template <bool kReversed, class D, class V>
HWY_INLINE void interleave(D d, V re, V im, V& low, V& high) {
#if HWY_TARGET == HWY_AVX3
  if constexpr (hn::MaxLanes(D()) == 16 && sizeof(hn::TFromD<D>) == 4) {
    // Index i < 16 takes lane i of re, 16 + i lane i of im.
    const __m512i first = kReversed ? _mm512_set_epi32(24, 8, 25, 9, 26, 10, 27, 11, 28, 12, 29, 13, 30, 14, 31, 15)
                                    : _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const __m512i second = kReversed ? _mm512_set_epi32(16, 0, 17, 1, 18, 2, 19, 3, 20, 4, 21, 5, 22, 6, 23, 7)
                                     : _mm512_set_epi32(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8);
    low = V{_mm512_permutex2var_ps(re.raw, first, im.raw)};
    high = V{_mm512_permutex2var_ps(re.raw, second, im.raw)};
    return;
  }
#endif
  HWY_ALIGN hn::TFromD<D> both[2 * hn::MaxLanes(D())];
  if constexpr (kReversed) {
    re = hn::Reverse(d, re);
    im = hn::Reverse(d, im);
  }
  hn::StoreInterleaved2(re, im, d, both);  // stays in registers once inlined
  low = hn::Load(d, both);
  high = hn::Load(d, both + hn::MaxLanes(D()));
}

template <bool kReversed, class D, class V>
HWY_INLINE void store_interleaved(D d, V re, V im, hn::TFromD<D>* HWY_RESTRICT to) {
#if HWY_TARGET == HWY_AVX3
  V low, high;
  interleave<kReversed>(d, re, im, low, high);
  hn::StoreU(low, d, to);
  hn::StoreU(high, d, to + hn::MaxLanes(D()));
#else
  if constexpr (kReversed) {
    re = hn::Reverse(d, re);
    im = hn::Reverse(d, im);
  }
  hn::StoreInterleaved2(re, im, d, to);
#endif
}

// The reverse: the parts of 2 L interleaved values, in order or reversed.
template <bool kReversed, class D, class V>
HWY_INLINE void load_interleaved(D d, const hn::TFromD<D>* HWY_RESTRICT from, V& re, V& im) {
  const V a = hn::LoadU(d, from), b = hn::LoadU(d, from + hn::MaxLanes(D()));
#if HWY_TARGET == HWY_AVX3
  if constexpr (kReversed && hn::MaxLanes(D()) == 16 && sizeof(hn::TFromD<D>) == 4) {
    const __m512i even = _mm512_set_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_set_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    re = V{_mm512_permutex2var_ps(a.raw, even, b.raw)};
    im = V{_mm512_permutex2var_ps(a.raw, odd, b.raw)};
    return;
  }
#endif
  re = hn::ConcatEven(d, b, a);
  im = hn::ConcatOdd(d, b, a);
  if constexpr (kReversed) {
    re = hn::Reverse(d, re);
    im = hn::Reverse(d, im);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#endif
