// Constants of the filtered spectrogram, each with its reason.
#pragma once

#include <cstdint>

namespace melisma::filtered_spectrogram_tuning {

// As for the STFT: enough to hide a task's start, few enough to share out a short clip.
inline constexpr std::int64_t kFramesPerTask = 128;

// From this size on a frame is transformed alone: a batch of 16 frames of 16384 samples works in 2 MB, beyond the
// second-level cache, and costs a short signal 16 transforms. The bands are hundreds of bins wide then, so that sums
// along them vectorise.
inline constexpr std::int64_t kSingleFrameSize = 16384;

}  // namespace melisma::filtered_spectrogram_tuning
