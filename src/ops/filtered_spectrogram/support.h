// The checks of a filtered spectrogram.
#pragma once

#include "melisma/filtered_spectrogram.h"
#include "ops/spectrogram/support.h"

namespace melisma {

SpectrogramCall check_filtered_spectrogram(const Tensor& x, const FilterBank& bank,
                                           const FilteredSpectrogramParams& params, const char* op);

}  // namespace melisma
