#include "blocks/elementwise/elementwise.h"

#include <cmath>
#include <limits>
#include <vector>

#include "testing/fixtures.h"
#include "testing/tolerances.h"

namespace melisma {
namespace {

using namespace testing;

class ElementwiseTest : public SimdTest {};
MELISMA_ON_EVERY_SIMD_TARGET(ElementwiseTest);

// Values over the whole normal range, of any count of lanes.
template <typename T>
std::vector<T> spread(std::size_t count, double least_exponent, double most_exponent) {
  std::vector<T> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    const double at = count > 1 ? static_cast<double>(i) / static_cast<double>(count - 1) : 0.5;
    values[i] = static_cast<T>(std::pow(10.0, least_exponent + at * (most_exponent - least_exponent)));
  }
  return values;
}

template <typename T>
void check_powers(double eps) {
  for (const std::size_t count : {1u, 2u, 3u, 7u, 8u, 9u, 15u, 16u, 17u, 33u, 1000u}) {
    for (const double power : {0.3, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0}) {
      const std::vector<T> squares = spread<T>(count, -12.0, 12.0);
      std::vector<T> got = squares;
      power_of_squares(got.data(), static_cast<std::int64_t>(count), power);
      for (std::size_t i = 0; i < count; ++i) {
        const double want = std::pow(static_cast<double>(squares[i]), power / 2.0);
        ASSERT_NEAR(static_cast<double>(got[i]), want, power_error(eps, want) * want) << squares[i] << "^" << power / 2;
      }
    }
  }
}

TEST_P(ElementwiseTest, Powers) {
  check_powers<float>(1.2e-7);
  check_powers<double>(2.3e-16);
}

template <typename T>
void check_logarithms(double eps) {
  for (const std::size_t count : {1u, 3u, 8u, 15u, 16u, 17u, 33u, 1000u}) {
    for (const double add : {0.0, 1.0, 1e-6}) {
      const LogParams log{
          .enabled = true, .scale = 10.0 / std::log(10.0), .mul = 3.0, .add = add, .floor = 1e-20, .offset = 5.0};
      const std::vector<T> values = spread<T>(count, -30.0, 30.0);
      std::vector<T> got = values;
      logarithm(got.data(), static_cast<std::int64_t>(count), log);
      for (std::size_t i = 0; i < count; ++i) {
        const double inner = 3.0 * static_cast<double>(values[i]) + add;
        const double want = log.scale * std::log(std::max(inner, 1e-20)) + 5.0;
        ASSERT_NEAR(static_cast<double>(got[i]), want, elementwise_error(eps) * (std::abs(want) + 5.0 + log.scale))
            << values[i];
      }
    }
  }
}

TEST_P(ElementwiseTest, Logarithms) {
  check_logarithms<float>(1.2e-7);
  check_logarithms<double>(2.3e-16);
}

template <typename T>
void check_power_slopes(double eps) {
  for (const std::size_t count : {1u, 3u, 8u, 17u, 1000u}) {
    for (const double power : {0.3, 1.0, 1.5, 3.0}) {
      const std::vector<T> squares = spread<T>(count, -12.0, 12.0);
      std::vector<T> got = squares;
      power_slopes(got.data(), static_cast<std::int64_t>(count), power);
      for (std::size_t i = 0; i < count; ++i) {
        const double want = std::pow(static_cast<double>(squares[i]), (power - 2.0) / 2.0);
        ASSERT_NEAR(static_cast<double>(got[i]), want, power_error(eps, want) * want) << squares[i] << ", " << power;
      }
    }
  }
}

TEST_P(ElementwiseTest, SlopesOfPowers) {
  check_power_slopes<float>(1.2e-7);
  check_power_slopes<double>(2.3e-16);
}

template <typename T>
void check_logarithm_slopes(double eps) {
  for (const std::size_t count : {1u, 3u, 8u, 17u, 1000u}) {
    for (const double add : {0.0, 1.0, -1.0}) {
      const LogParams log{.enabled = true, .scale = 4.0, .mul = 3.0, .add = add, .floor = 0.3, .offset = 5.0};
      const std::vector<T> values = spread<T>(count, -15.0, 15.0);
      std::vector<T> got(count, T{0.5});
      logarithm_backward(values.data(), got.data(), static_cast<std::int64_t>(count), log);
      for (std::size_t i = 0; i < count; ++i) {
        const double inner = 3.0 * static_cast<double>(values[i]) + add;
        const double want = inner > 0.3 ? 0.5 * 4.0 * 3.0 / inner : 0.0;
        ASSERT_NEAR(static_cast<double>(got[i]), want, elementwise_error(eps) * want * (1.0 + std::abs(add / inner)))
            << values[i];
      }
    }
  }
}

TEST_P(ElementwiseTest, SlopesOfLogarithms) {
  check_logarithm_slopes<float>(1.2e-7);
  check_logarithm_slopes<double>(2.3e-16);
}

TEST_P(ElementwiseTest, SlopesOfSpecialValues) {
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for (const double power : {0.3, 1.0, 1.5, 3.0}) {
    std::vector<float> values = {0.0f, 1e-45f, 1e-39f, 1e-37f, 1.0f, nan, infinity};
    power_slopes(values.data(), 7, power);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(values[i], 0.0f) << power;
    EXPECT_TRUE(values[3] > 0.0f && std::isfinite(values[3])) << power;
    EXPECT_EQ(values[4], 1.0f) << power;
    EXPECT_TRUE(std::isnan(values[5])) << power;
    EXPECT_EQ(values[6], power < 2 ? 0.0f : infinity) << power;
  }
  const std::vector<float> bands = {0.0f, 1e-10f, 2e-10f, nan, infinity, -1.0f};
  std::vector<float> grad(6, 2.0f);
  logarithm_backward(bands.data(), grad.data(), 6, {.enabled = true, .floor = static_cast<double>(1e-10f)});
  EXPECT_EQ(grad[0], 0.0f);
  EXPECT_EQ(grad[1], 0.0f) << "at the floor";
  EXPECT_FLOAT_EQ(grad[2], 1e10f);
  EXPECT_TRUE(std::isnan(grad[3])) << "a NaN must not be taken for the floor";
  EXPECT_EQ(grad[4], 0.0f);
  EXPECT_EQ(grad[5], 0.0f);
}

TEST_P(ElementwiseTest, SpecialValues) {
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> values = {0.0f, infinity, nan, 1.0f, 1e-45f};
  power_of_squares(values.data(), 5, 1.0);
  EXPECT_EQ(values[0], 0.0f);
  EXPECT_EQ(values[1], infinity);
  EXPECT_TRUE(std::isnan(values[2]));
  EXPECT_EQ(values[3], 1.0f);
  for (const double power : {0.3, 1.5, 3.0}) {
    values = {0.0f, infinity, nan, 1.0f, 1e38f};
    power_of_squares(values.data(), 5, power);
    EXPECT_EQ(values[0], 0.0f) << power;
    EXPECT_EQ(values[1], infinity) << power;
    EXPECT_TRUE(std::isnan(values[2])) << power;
    EXPECT_EQ(values[3], 1.0f) << power;
    EXPECT_EQ(std::isinf(values[4]), power == 3.0) << power;
  }
  double large = 1e300;
  power_of_squares(&large, 1, 3.0);
  EXPECT_EQ(large, std::numeric_limits<double>::infinity());
  values = {0.0f, infinity, nan, 1.0f};
  logarithm(values.data(), 4, {.enabled = true, .floor = 1e-10});
  EXPECT_NEAR(values[0], std::log(1e-10), 1e-5);
  EXPECT_EQ(values[1], infinity);
  EXPECT_TRUE(std::isnan(values[2])) << "a NaN must not be taken for the floor";
  EXPECT_EQ(values[3], 0.0f);
}

// A value's result does not depend on its place in the array.
TEST_P(ElementwiseTest, EveryLaneAndTailAgree) {
  const std::vector<float> values = spread<float>(61, -10.0, 10.0);
  const LogParams log{.enabled = true, .add = 1e-6, .floor = 1e-10};
  for (const double power : {1.0, 1.7, 2.0}) {
    std::vector<float> whole = values;
    power_of_squares(whole.data(), 61, power);
    std::vector<float> logs = whole;
    logarithm(logs.data(), 61, log);
    for (std::size_t i = 0; i < 61; ++i) {
      float one = values[i];
      power_of_squares(&one, 1, power);
      ASSERT_EQ(one, whole[i]) << i;
      logarithm(&one, 1, log);
      ASSERT_EQ(one, logs[i]) << i;
    }
    std::vector<float> slopes = values, grads = values;
    power_slopes(slopes.data(), 61, power);
    logarithm_backward(values.data(), grads.data(), 61, log);
    for (std::size_t i = 0; i < 61; ++i) {
      float one = values[i];
      power_slopes(&one, 1, power);
      ASSERT_EQ(one, slopes[i]) << i;
      one = values[i];
      logarithm_backward(&values[i], &one, 1, log);
      ASSERT_EQ(one, grads[i]) << i;
    }
  }
}

}  // namespace
}  // namespace melisma
