// The fast forward kernels' variants. Of one size the first is taken unless a caller forces another.
#pragma once

namespace melisma::gpu {

// (index, A, B, form, warps of a block, blocks of a multiprocessor)
// Warps and blocks: registers for all of them without spills, and as many as hide memory's latency. The warps of a
// block share samples in the first cache, which has what shared memory leaves. Lines of 3 and 4 warps fit where a block
// may have less of it.
#define MELISMA_FAST_FORWARD_VARIANTS(V) \
  V(0, 8, 8, kPairs, 4, 4)               \
  V(1, 16, 8, kPairs, 4, 4)              \
  V(2, 20, 10, kPairs, 4, 4)             \
  V(3, 20, 10, kRealHeld, 16, 1)         \
  V(4, 16, 15, kPairs, 4, 4)             \
  V(5, 32, 8, kSingle, 4, 5)             \
  V(6, 20, 16, kPairs, 16, 1)            \
  V(7, 20, 16, kPairs, 4, 4)             \
  V(8, 20, 20, kReal, 12, 1)             \
  V(9, 20, 20, kPairs, 4, 3)             \
  V(10, 32, 15, kPairs, 4, 4)            \
  V(11, 20, 25, kPairs, 12, 1)           \
  V(12, 20, 25, kPairs, 4, 3)            \
  V(13, 32, 16, kPairs, 12, 1)           \
  V(14, 32, 16, kPairs, 4, 4)            \
  V(15, 20, 30, kPairs, 12, 1)           \
  V(16, 20, 30, kPairs, 4, 3)            \
  V(17, 32, 20, kRows, 20, 1)            \
  V(18, 32, 20, kRows, 4, 5)             \
  V(19, 32, 25, kPairs, 12, 1)           \
  V(20, 32, 25, kPairs, 4, 3)            \
  V(21, 32, 30, kRows, 16, 1)            \
  V(22, 32, 30, kRows, 4, 4)             \
  V(23, 32, 32, kRows, 12, 1)            \
  V(24, 32, 32, kRows, 16, 1)            \
  V(25, 32, 32, kRows, 4, 4)             \
  V(26, 32, 48, kRows, 12, 1)            \
  V(27, 64, 24, kPairs, 4, 3)            \
  V(28, 64, 32, kPairs, 8, 1)            \
  V(29, 64, 32, kPairs, 3, 1)

inline constexpr int kFastForwardVariants = 30;

// A filter bank up to this stands in a block's shared memory.
inline constexpr int kSharedBankBytes = 48 << 10;

// Frames that are written together where a frame's bins are not contiguous: 8 complex64 are two sectors of memory.
inline constexpr int kFramesTogether = 8;

}  // namespace melisma::gpu
