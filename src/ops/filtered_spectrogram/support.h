// The checks of a filtered spectrogram.
#pragma once

#include "melisma/filtered_spectrogram.h"
#include "ops/spectrogram/support.h"

namespace melisma {

SpectrogramCall check_filtered_spectrogram(const Tensor& x, const FilterBankView& bank,
                                           const FilteredSpectrogramParams& params, const char* op);

// The bank of a call on the CPU.
const FilterBank& bank_on_host(const FilterBankView& bank, const char* op);

}  // namespace melisma
