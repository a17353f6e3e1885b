// Any filter bank over |X|^power, then a logarithm, in one pass from the samples. Mel and log-mel spectrograms are this
// with FilterBank::mel; madmom's logarithmic filtered spectrogram is this with FilterBank::logarithmic.
#pragma once

#include <limits>

#include "melisma/filter_bank.h"
#include "melisma/spectrogram.h"

namespace melisma {

enum class TopScope : std::uint8_t {
  kItem,    // the maximum is taken over each [bands, frames] item
  kPacked,  // over the last three axes together, where there are three (torchaudio's amplitude_to_DB)
};

// y = scale * ln(max(mul * v + add, floor)) + offset        or y = v where `enabled` is false
// then, where top is finite, y = max(y, maximum(y) - top);  then y = post_mul * y + post_add.
struct LogParams {
  bool enabled = false;
  double scale = 1.0;  // 1 / ln(10) for log10, 10 / ln(10) for dB of a power
  double mul = 1.0;
  double add = 0.0;
  double floor = 0.0;                                    // the logarithm's smallest argument; > 0 unless add > 0
  double offset = 0.0;                                   // e.g. -10 log10(ref)
  double top = std::numeric_limits<double>::infinity();  // in units of y, before post_mul
  TopScope top_scope = TopScope::kItem;
  double post_mul = 1.0;
  double post_add = 0.0;
};

struct FilteredSpectrogramParams {
  SpectrogramParams spectrogram;  // its layout is the result's: [..., bands, frames] or [..., frames, bands]
  LogParams log;
  bool float64 = false;  // computed in float64 whatever x is; the result's dtype stays. As madmom computes.
};

// bank.bins() must be the number of bins of the spectrogram (n_fft/2 + 1, or n_fft/2 without Nyquist).
// x: as spectrogram's; out: filtered_spectrogram_shape(...), float32, or float64 from float64; on a GPU float16 or
// bfloat16 in place of float32. Where x is on the CPU a FilterBank is passed as it is.
Shape filtered_spectrogram_shape(const Tensor& x, const FilterBankView& bank, const FilteredSpectrogramParams& params);
void filtered_spectrogram(const Tensor& x, const Tensor* window, const FilterBankView& bank,
                          const FilteredSpectrogramParams& params, const Tensor& out, const Queue& queue = {});
Explanation explain_filtered_spectrogram(const Tensor& x, const FilterBankView& bank,
                                         const FilteredSpectrogramParams& params);

// Gradient with respect to x of a loss whose gradient with respect to the result is `grad`; spectrum and bands are
// computed again. The logarithm's derivative is 0 where its argument is at or below the floor, and that of |X|^power is
// as in spectrogram_backward, so silence gives 0. log.top must be infinite: clipping is a step of its own.
// x:    [..., samples] float32 or float64
// grad: filtered_spectrogram_shape(x, bank, params), of x's dtype
// out:  x's shape and dtype, no overlap with x or grad; any strides in all three
// On a GPU each of the three may be float16 or bfloat16 in place of float32.
void filtered_spectrogram_backward(const Tensor& x, const Tensor& grad, const Tensor* window,
                                   const FilterBankView& bank, const FilteredSpectrogramParams& params,
                                   const Tensor& out, const Queue& queue = {});

// The same two in plain float64 arithmetic whatever x is; grad and out are float64.
void filtered_spectrogram_reference(const Tensor& x, const Tensor* window, const FilterBank& bank,
                                    const FilteredSpectrogramParams& params, const Tensor& out);
void filtered_spectrogram_backward_reference(const Tensor& x, const Tensor& grad, const Tensor* window,
                                             const FilterBank& bank, const FilteredSpectrogramParams& params,
                                             const Tensor& out);

}  // namespace melisma
