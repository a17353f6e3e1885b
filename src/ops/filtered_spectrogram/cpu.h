// The CPU kernel's side of the filtered spectrogram.
#pragma once

#include <vector>

#include "blocks/framing/framing.h"
#include "melisma/filtered_spectrogram.h"
#include "ops/spectrogram/cpu.h"

namespace melisma {

struct FilteredSpectrogramJob {
  const Tensor& x;
  const Tensor& out;
  const FilterBank& bank;
  Framing framing;
  std::int64_t band_stride, frame_stride;  // of out
  double power;
  LogParams log;
  bool float64;                // compute in it
  std::vector<double> window;  // [n_fft], scaled
};

struct FilteredSpectrogramBackwardJob {
  SpectrogramBackwardJob spectrogram;
  const FilterBank& bank;
  LogParams log;
  bool float64;  // compute in it
};

void filtered_spectrogram_cpu(const FilteredSpectrogramJob& job);
void filtered_spectrogram_backward_cpu(const FilteredSpectrogramBackwardJob& job);
Explanation filtered_spectrogram_cpu_kernel(std::int64_t n_fft, bool float64);

}  // namespace melisma
