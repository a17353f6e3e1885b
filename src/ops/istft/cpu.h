// The CPU kernels' side of the inverse STFT and its gradient.
#pragma once

#include "blocks/overlap_add/inverse.h"
#include "blocks/spectrum/transform.h"
#include "melisma/istft.h"

namespace melisma {

void istft_cpu(const InverseJob& job);
Explanation istft_cpu_kernel(std::int64_t n_fft, bool complex_result, bool double_result);

// Frames of grad divided by the envelope, transformed.
struct IstftAdjointJob {
  const Tensor& grad;  // [..., framing.length]
  Framing framing;
  EnvelopeRule envelope;
  std::vector<double> window;  // [n_fft], not scaled: the envelope's
  TransformJob spectrum;
};
void istft_adjoint_cpu(const IstftAdjointJob& job);

}  // namespace melisma
