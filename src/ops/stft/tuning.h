// Constants of the STFT's window gradient, each with its reason. Those of its transform stand in blocks/spectrum.
#pragma once

#include <cstdint>

namespace melisma::stft_tuning {

// Frames that are added to one sum before the next block's.
inline constexpr std::int64_t kFramesPerSum = 128;

// Sums that are kept apart, each of n_fft float64 values: what many threads can share, and a bound on the memory. It
// does not depend on the threads, so that the order of the additions does not either.
inline constexpr std::int64_t kMostSums = 64;

}  // namespace melisma::stft_tuning
