// Square transposes in registers: as many vectors as a vector has lanes.

// clang-format off
#if defined(MELISMA_BLOCKS_FFT_TRANSPOSE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MELISMA_BLOCKS_FFT_TRANSPOSE_INL_H_
#undef MELISMA_BLOCKS_FFT_TRANSPOSE_INL_H_
#else
#define MELISMA_BLOCKS_FFT_TRANSPOSE_INL_H_
#endif
// clang-format on

#include "runtime/cpu/highway.h"

HWY_BEFORE_NAMESPACE();
namespace melisma {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The 2 x 2 transpose of neighbouring 128-bit blocks: a = [a0 b0 a2 b2], b = [a1 b1 a3 b3].
template <class D, class V>
HWY_INLINE void transpose_neighbour_blocks(D d, V& a, V& b) {
  (void)d;
  const V low = hn::OddEvenBlocks(hn::SwapAdjacentBlocks(b), a);
  b = hn::OddEvenBlocks(b, hn::SwapAdjacentBlocks(a));
  a = low;
}

// v[i][j] and v[j][i] change places, for all lanes i, j.
template <class D, class V>
HWY_INLINE void transpose(D d, V* HWY_RESTRICT v) {
  using T = hn::TFromD<D>;
  constexpr int L = static_cast<int>(hn::MaxLanes(D()));
  constexpr int P = 16 / sizeof(T);  // lanes of a 128-bit block
  constexpr int B = L / P;           // blocks of a vector
  // Inside blocks: rows P g .. P g + P - 1; row P g + r then has in block b what belongs to column P b + r.
#pragma GCC unroll 16
  for (int g = 0; g < B; ++g) {
    V* HWY_RESTRICT w = v + P * g;
    if constexpr (P == 4) {
      const hn::Repartition<double, D> wide;
      const V a = hn::InterleaveLower(d, w[0], w[1]), b = hn::InterleaveUpper(d, w[0], w[1]);
      const V e = hn::InterleaveLower(d, w[2], w[3]), f = hn::InterleaveUpper(d, w[2], w[3]);
      w[0] = hn::BitCast(d, hn::InterleaveLower(wide, hn::BitCast(wide, a), hn::BitCast(wide, e)));
      w[1] = hn::BitCast(d, hn::InterleaveUpper(wide, hn::BitCast(wide, a), hn::BitCast(wide, e)));
      w[2] = hn::BitCast(d, hn::InterleaveLower(wide, hn::BitCast(wide, b), hn::BitCast(wide, f)));
      w[3] = hn::BitCast(d, hn::InterleaveUpper(wide, hn::BitCast(wide, b), hn::BitCast(wide, f)));
    } else {
      const V a = hn::InterleaveLower(d, w[0], w[1]), b = hn::InterleaveUpper(d, w[0], w[1]);
      w[0] = a;
      w[1] = b;
    }
  }
  // Across blocks: for each r the B x B blocks of rows r, P + r, 2 P + r, ...
  if constexpr (B == 2) {
#pragma GCC unroll 4
    for (int r = 0; r < P; ++r) {
      const V a = v[r], b = v[P + r];
      v[r] = hn::ConcatLowerLower(d, b, a);
      v[P + r] = hn::ConcatUpperUpper(d, b, a);
    }
  } else if constexpr (B == 4) {
#pragma GCC unroll 4
    for (int r = 0; r < P; ++r) {
      V low0 = hn::ConcatLowerLower(d, v[2 * P + r], v[r]);
      V low1 = hn::ConcatLowerLower(d, v[3 * P + r], v[P + r]);
      V high0 = hn::ConcatUpperUpper(d, v[2 * P + r], v[r]);
      V high1 = hn::ConcatUpperUpper(d, v[3 * P + r], v[P + r]);
      transpose_neighbour_blocks(d, low0, low1);
      transpose_neighbour_blocks(d, high0, high1);
      v[r] = low0;
      v[P + r] = low1;
      v[2 * P + r] = high0;
      v[3 * P + r] = high1;
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace melisma
HWY_AFTER_NAMESPACE();

#endif
