// Constants of the magnitude spectrogram, each with its reason.
#pragma once

#include <cstdint>

namespace melisma::spectrogram_tuning {

// As for the STFT: enough to hide a task's start, few enough to share out a short clip.
inline constexpr std::int64_t kFramesPerTask = 128;

// How many frames ahead the next samples are asked for: about 1 us, the time that memory takes.
inline constexpr std::int64_t kPrefetchFrames = 4;

}  // namespace melisma::spectrogram_tuning
