// The fast forward kernels' variants. Of one size the first is taken unless a caller forces another.
#pragma once

namespace melisma::gpu {

// (index, A, B, by rows, warps of a block, blocks of a multiprocessor)
// Warps and blocks: registers for all of them without spills, and as many as hide memory's latency. The warps of a
// block share samples in the first cache, which has what shared memory leaves. Lines of 3 and 4 warps fit where a block
// may have less of it.
#define MELISMA_FAST_FORWARD_VARIANTS(V) \
  V(0, 8, 8, false, 4, 4)                \
  V(1, 16, 8, false, 16, 1)              \
  V(2, 16, 8, false, 4, 4)               \
  V(3, 20, 10, false, 16, 1)             \
  V(4, 20, 10, false, 4, 4)              \
  V(5, 16, 15, false, 4, 4)              \
  V(6, 16, 16, true, 24, 1)              \
  V(7, 16, 16, false, 4, 4)              \
  V(8, 20, 16, false, 16, 1)             \
  V(9, 20, 16, false, 4, 4)              \
  V(10, 20, 20, false, 12, 1)            \
  V(11, 20, 20, false, 4, 3)             \
  V(12, 32, 15, false, 16, 1)            \
  V(13, 32, 15, false, 4, 4)             \
  V(14, 20, 25, false, 12, 1)            \
  V(15, 20, 25, false, 4, 3)             \
  V(16, 32, 16, false, 16, 1)            \
  V(17, 32, 16, false, 12, 1)            \
  V(18, 32, 16, false, 4, 4)             \
  V(19, 20, 30, false, 12, 1)            \
  V(20, 20, 30, false, 4, 3)             \
  V(21, 32, 20, true, 20, 1)             \
  V(22, 32, 20, true, 4, 5)              \
  V(23, 32, 25, false, 12, 1)            \
  V(24, 32, 25, false, 4, 3)             \
  V(25, 32, 30, true, 16, 1)             \
  V(26, 32, 30, true, 4, 4)              \
  V(27, 32, 32, true, 12, 1)             \
  V(28, 32, 32, true, 4, 4)              \
  V(29, 32, 48, true, 12, 1)             \
  V(30, 64, 24, false, 4, 3)             \
  V(31, 64, 32, false, 8, 1)             \
  V(32, 64, 32, false, 3, 1)

inline constexpr int kFastForwardVariants = 33;

// A filter bank up to this stands in a block's shared memory.
inline constexpr int kSharedBankBytes = 16 << 10;

// Frames that are written together where a frame's bins are not contiguous: 8 complex64 are two sectors of memory.
inline constexpr int kFramesTogether = 8;

}  // namespace melisma::gpu
