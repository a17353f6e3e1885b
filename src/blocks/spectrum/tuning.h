// Constants of forward transforms whose result is the spectrum, each with its reason.
#pragma once

#include <cstdint>

namespace melisma::transform_tuning {

// Frames that one task computes: enough to hide the task's start (about 1 us), few enough that 8 threads share a 10 s
// clip.
inline constexpr std::int64_t kFramesPerTask = 128;

// Frames staged before they are scattered to a result whose bins are not contiguous: 8 complex64 fill a cache line.
inline constexpr std::int64_t kScatterFrames = 8;

// How many frames ahead the next samples are asked for: about 1 us, the time that memory takes.
inline constexpr std::int64_t kPrefetchFrames = 4;

}  // namespace melisma::transform_tuning
