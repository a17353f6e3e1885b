// Powers and logarithms of arrays, in SIMD: NaN stays NaN, log of 0 is -inf, of a negative number NaN.
#pragma once

#include <cstdint>

#include "melisma/filtered_spectrogram.h"

namespace melisma {

// v[i] = v[i]^(power / 2), the magnitude to the power from the squared magnitude. power 1 and 2 are exact roundings;
// others go through float64.
void power_of_squares(float* v, std::int64_t count, double power);
void power_of_squares(double* v, std::int64_t count, double power);

// v[i] = scale ln(max(mul v[i] + add, floor)) + offset.
void logarithm(float* v, std::int64_t count, const LogParams& params);
void logarithm(double* v, std::int64_t count, const LogParams& params);

}  // namespace melisma
