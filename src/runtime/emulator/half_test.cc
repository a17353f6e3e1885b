#include "runtime/emulator/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>

namespace melisma::emulator {
namespace {

double value_of(std::uint16_t bits, int mantissa_bits, int bias) {
  const int mantissa = bits & ((1 << mantissa_bits) - 1);
  const int exponent = (bits & 0x7FFF) >> mantissa_bits;
  const double magnitude = exponent == 0 ? std::ldexp(mantissa, 1 - bias - mantissa_bits)
                                         : std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

// Every pattern, and the floats at, just below and just above the middle of each and the next.
template <typename ToFloat, typename FromFloat>
void check(int mantissa_bits, int bias, ToFloat to_float, FromFloat from_float) {
  const std::uint32_t infinity = 0x7FFF & ~((1u << mantissa_bits) - 1);
  for (std::uint32_t pattern = 0; pattern < 65536; ++pattern) {
    const auto bits = static_cast<std::uint16_t>(pattern);
    const std::uint32_t magnitude = pattern & 0x7FFF;
    const float value = to_float(bits);
    EXPECT_EQ(std::signbit(value), (pattern & 0x8000) != 0);
    if (magnitude > infinity) {
      EXPECT_TRUE(std::isnan(value)) << pattern;
      EXPECT_GT(from_float(value) & 0x7FFFu, infinity) << pattern;
      continue;
    }
    EXPECT_EQ(from_float(value), bits);
    if (magnitude == infinity) {
      EXPECT_TRUE(std::isinf(value)) << pattern;
      continue;
    }
    EXPECT_EQ(static_cast<double>(value), value_of(bits, mantissa_bits, bias)) << pattern;
    // The next pattern's value, infinity taken as the number that its pattern would be.
    const auto middle = static_cast<float>(
        (value_of(bits, mantissa_bits, bias) + value_of(static_cast<std::uint16_t>(bits + 1), mantissa_bits, bias)) /
        2);
    const auto up = static_cast<std::uint16_t>(bits + 1);
    EXPECT_EQ(from_float(middle), (bits & 1) != 0 ? up : bits) << pattern;
    EXPECT_EQ(from_float(std::nextafter(middle, 0.0f)), bits) << pattern;
    if (!std::isinf(middle)) {
      EXPECT_EQ(from_float(std::nextafter(middle, std::copysign(INFINITY, middle))), up) << pattern;
    }
  }
}

TEST(Half, EveryPattern) { check(10, 15, half_to_float, float_to_half); }

TEST(Half, EveryBfloatPattern) { check(7, 127, bfloat_to_float, float_to_bfloat); }

TEST(Half, LargeAndSmallFloats) {
  EXPECT_EQ(float_to_half(1e10f), 0x7C00);
  EXPECT_EQ(float_to_half(-INFINITY), 0xFC00);
  EXPECT_EQ(float_to_half(1e-30f), 0);
  EXPECT_EQ(float_to_bfloat(-1e-45f), 0x8000);
}

}  // namespace
}  // namespace melisma::emulator
