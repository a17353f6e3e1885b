// Constants of the filtered spectrogram, each with its reason.
#pragma once

#include <cstdint>

namespace melisma::filtered_spectrogram_tuning {

// As for the STFT: enough to hide a task's start, few enough to share out a short clip.
inline constexpr std::int64_t kFramesPerTask = 128;

}  // namespace melisma::filtered_spectrogram_tuning
