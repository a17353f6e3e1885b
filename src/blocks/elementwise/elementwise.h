// Powers and logarithms of arrays and their derivatives, in SIMD: NaN stays NaN, log of 0 is -inf, of a negative number
// NaN.
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

// v[i] = v[i]^((power - 2) / 2): what d|X|^power / power is times X, from the squared magnitude. 0 where the square is
// below the smallest normal number, its root being lost to rounding there, and so never infinite. Not for power 2.
void power_slopes(float* v, std::int64_t count, double power);
void power_slopes(double* v, std::int64_t count, double power);

// grad[i] *= scale mul / (mul v[i] + add) where mul v[i] + add > floor, elsewhere 0: the derivative of logarithm().
void logarithm_backward(const float* v, float* grad, std::int64_t count, const LogParams& params);
void logarithm_backward(const double* v, double* grad, std::int64_t count, const LogParams& params);

}  // namespace melisma
