// Inverse transforms of a spectrogram's frames, overlap-added: the inverse STFT and the adjoint of the STFT.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "blocks/framing/framing.h"
#include "melisma/istft.h"
#include "melisma/tensor.h"

namespace melisma {

// Which bins a spectrum holds, and what they mean for a real result. A complex result takes kAll.
enum class BinSet : std::uint8_t {
  kHalf,       // 0 .. n_fft / 2; more may follow and are not read
  kNoNyquist,  // 0 .. n_fft / 2 - 1; the last one counts as 0
  kFolded,     // all n_fft: bin k is taken as X_k + conj(X_{n_fft - k}), the edges as they are
  kAll,        // all n_fft
};

// Division by the overlap-added squared window.
struct EnvelopeRule {
  EdgePolicy edge;
  double scale;  // of the result, beside
  const char* op;
};

// out[j] = sum_t window[i] y_t[i], i = j - framing.start(t), where y_t is the inverse transform of frame t times n_fft.
// Framing::pad_mode as in OverlapAddJob.
struct InverseJob {
  const Tensor& spec;  // complex, [..., bins, frames] in either order
  const Tensor& out;   // [..., framing.length] of the same precision, real or complex
  Framing framing;
  std::int64_t bin_stride, frame_stride;  // of spec, in complex values
  BinSet bins;
  double edge_bins;            // factor on DC and Nyquist where the result is real
  std::vector<double> window;  // [n_fft], with all scales
  std::optional<EnvelopeRule> envelope;
};

void inverse_overlap_add(const InverseJob& job);

}  // namespace melisma
