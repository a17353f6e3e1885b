// The tables of frame_transform-kernel.h.
#pragma once

#include <cstdint>

#include "blocks/gpu/block_fft.h"
#include "blocks/gpu/frame_transform-kernel.h"
#include "blocks/gpu/window_tables.h"

namespace melisma::gpu {

// The complex values that a frame is transformed as.
inline std::int64_t transform_values(std::int64_t n_fft, bool complex_input) {
  return !complex_input && n_fft % 2 == 0 ? n_fft / 2 : n_fft;
}

// All of it but the tables of the transform itself.
template <typename T, class Runner>
FrameTransform<T> make_frame_tables(const Window& window, std::int64_t n_fft, bool complex_input, Runner& runner) {
  FrameTransform<T> result{};
  const bool packed = !complex_input && n_fft % 2 == 0;
  result.window = padded_window<T>(window, n_fft, packed ? 0.5 : 1.0, runner);
  if (packed) result.real_twiddles = make_real_twiddles<T>(n_fft, runner);
  result.n_fft = static_cast<int>(n_fft);
  result.complex_input = complex_input ? 1 : 0;
  return result;
}

template <typename T, class Runner>
FrameTransform<T> make_frame_transform(const Window& window, std::int64_t n_fft, bool complex_input, Runner& runner) {
  FrameTransform<T> result = make_frame_tables<T>(window, n_fft, complex_input, runner);
  result.fft = make_block_fft<T>(transform_values(n_fft, complex_input), runner);
  return result;
}

}  // namespace melisma::gpu
