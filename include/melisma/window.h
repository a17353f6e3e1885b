// Window functions, in float64 and rounded once.
#pragma once

#include <cstdint>
#include <string_view>

#include "melisma/tensor.h"

namespace melisma {

// name: "hann", "hamming", "blackman", "bartlett", "kaiser" (parameter: beta, torch's default 12), "rectangular".
// periodic: one sample of the period is left out at the end (spectral analysis, torch's default);
// false: symmetric (np.hanning). out: [length] float32 or float64. Error naming the window where it is unknown.
void make_window(std::string_view name, bool periodic, double parameter, const Tensor& out);

}  // namespace melisma
