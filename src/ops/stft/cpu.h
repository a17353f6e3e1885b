// The CPU kernels' side of the STFT and its gradients: everything checked, the window ready.
#pragma once

#include <vector>

#include "blocks/framing/framing.h"
#include "blocks/overlap_add/inverse.h"
#include "blocks/spectrum/transform.h"
#include "melisma/stft.h"

namespace melisma {

struct StftJob {
  const Tensor& x;
  Framing framing;
  TransformJob spectrum;
};
void stft_cpu(const StftJob& job);
// "fft-across-lanes" or "frame-per-lane", and in what precision and why.
Explanation stft_cpu_kernel(std::int64_t n_fft, bool complex_input, bool double_result);

// sums[i] += over items and frames, conj(y) x of window sample i, where y is the inverse transform of the gradient's
// frame as InverseJob says (its window and result are not read) and x the signal's.
void stft_window_gradient_cpu(const Tensor& x, const InverseJob& job, std::vector<double>& sums);

}  // namespace melisma
