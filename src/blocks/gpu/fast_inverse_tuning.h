// The fast inverse kernels' variants. Of one size the first is taken unless a caller forces another.
#pragma once

namespace melisma::gpu {

// (index, C, R, lanes of a frame, warps of a block, blocks of a multiprocessor, buffers), as inverse_transform-kernel.h
// says
#define MELISMA_FAST_INVERSE_VARIANTS(V) \
  V(0, 16, 8, 8, 4, 4, 1)                \
  V(1, 20, 10, 10, 4, 4, 1)              \
  V(2, 15, 16, 16, 4, 4, 1)              \
  V(3, 16, 16, 16, 4, 4, 1)              \
  V(4, 40, 8, 8, 4, 3, 1)                \
  V(5, 20, 20, 10, 4, 3, 1)              \
  V(6, 16, 30, 16, 4, 4, 1)              \
  V(7, 50, 10, 10, 4, 3, 1)              \
  V(8, 32, 16, 16, 4, 4, 1)              \
  V(9, 32, 16, 16, 6, 2, 2)              \
  V(10, 30, 20, 30, 4, 4, 1)             \
  V(11, 40, 16, 16, 4, 3, 1)             \
  V(12, 32, 25, 32, 4, 4, 1)             \
  V(13, 32, 30, 32, 4, 4, 1)             \
  V(14, 32, 32, 32, 8, 2, 1)             \
  V(15, 64, 32, 64, 8, 2, 1)             \
  V(16, 64, 32, 32, 8, 1, 1)

inline constexpr int kFastInverseVariants = 17;

}  // namespace melisma::gpu
