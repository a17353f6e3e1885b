// The fast gradient kernels' variants. Of one size the first is taken unless a caller forces another.
#pragma once

namespace melisma::gpu {

// (index, A, B, by rows, C, R, lanes of a frame, warps of a block, blocks of a multiprocessor): FastPlan's first three,
// then InversePlan's. A warp has as many frames in one as in the other.
#define MELISMA_FAST_GRADIENT_VARIANTS(V) \
  V(0, 16, 8, false, 16, 8, 8, 4, 4)      \
  V(1, 16, 10, false, 16, 10, 8, 4, 4)    \
  V(2, 20, 10, false, 20, 10, 10, 8, 2)   \
  V(3, 20, 10, false, 20, 10, 10, 4, 4)   \
  V(4, 16, 15, false, 15, 16, 8, 4, 3)    \
  V(5, 16, 16, true, 16, 16, 16, 8, 2)    \
  V(6, 32, 10, false, 16, 20, 16, 4, 4)   \
  V(7, 20, 20, false, 20, 20, 10, 4, 3)   \
  V(8, 32, 15, false, 16, 30, 16, 4, 4)   \
  V(9, 50, 10, false, 25, 20, 25, 4, 3)   \
  V(10, 32, 16, false, 32, 16, 16, 12, 1) \
  V(11, 32, 16, false, 32, 16, 16, 8, 2)  \
  V(12, 32, 20, true, 32, 20, 32, 8, 2)   \
  V(13, 50, 16, false, 32, 25, 32, 12, 1) \
  V(14, 32, 30, true, 32, 30, 32, 12, 1)  \
  V(15, 32, 32, true, 32, 32, 32, 16, 1)  \
  V(16, 32, 32, true, 32, 32, 32, 4, 2)   \
  V(17, 64, 32, false, 64, 32, 32, 8, 1)

inline constexpr int kFastGradientVariants = 18;

}  // namespace melisma::gpu
