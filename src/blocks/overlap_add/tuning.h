// Constants of inverse transforms and overlap-add, each with its reason.
#pragma once

#include <cstdint>

namespace melisma::overlap_add_tuning {

// Frames a task computes where there are several threads. A task recomputes the n_fft / hop - 1 frames before its first
// sample: 3 of 128 with the usual overlap of four.
inline constexpr std::int64_t kFramesPerTask = 128;

// Frames that are overlap-added before the accumulator is moved down: one move of n_fft samples in 16 frames.
inline constexpr std::int64_t kFramesPerMove = 16;

// Frames gathered at a time from a spectrum whose bins are not contiguous: 8 complex64 fill a cache line.
inline constexpr std::int64_t kGatherFrames = 8;

}  // namespace melisma::overlap_add_tuning
