#include "blocks/reference/reference.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace melisma::reference {
namespace {

TEST(ReferenceTransform, IsTheDefinition) {
  for (std::int64_t n = 1; n <= 130; ++n) {
    std::vector<Complex> x(static_cast<std::size_t>(n));
    double norm = 0.0;
    for (std::int64_t j = 0; j < n; ++j) {
      x[static_cast<std::size_t>(j)] = {std::sin(1.0 + static_cast<double>(j * j)),
                                        std::cos(3.0 * static_cast<double>(j))};
      norm += std::norm(x[static_cast<std::size_t>(j)]);
    }
    for (const int sign : {-1, 1}) {
      const std::vector<Complex> got = dft(x, sign);
      for (std::int64_t k = 0; k < n; ++k) {
        Complex want = 0.0;
        for (std::int64_t j = 0; j < n; ++j) {
          const double angle = sign * 2.0 * std::numbers::pi * static_cast<double>(j * k % n) / static_cast<double>(n);
          want += x[static_cast<std::size_t>(j)] * Complex(std::cos(angle), std::sin(angle));
        }
        // The definition in float64 rounds each of n terms, and each angle by n eps at most.
        const double allowed = 8e-16 * static_cast<double>(n) * std::sqrt(norm);
        ASSERT_LE(std::abs(got[static_cast<std::size_t>(k)] - want), allowed) << n << " bin " << k;
      }
    }
  }
}

TEST(ReferenceTransform, InverseGivesTheInputBack) {
  for (const std::int64_t n : {1024, 1103, 6000, 65536}) {
    std::vector<Complex> x(static_cast<std::size_t>(n));
    for (std::int64_t j = 0; j < n; ++j) x[static_cast<std::size_t>(j)] = std::sin(static_cast<double>(7 * j % 1009));
    const std::vector<Complex> back = dft(dft(x, -1), +1);
    for (std::size_t j = 0; j < x.size(); ++j)
      ASSERT_NEAR(std::abs(back[j] / static_cast<double>(n) - x[j]), 0.0, 1e-14) << n;
  }
}

TEST(ReferenceTransform, RootsAreExactOnTheAxes) {
  for (const std::int64_t n : {4, 8, 12, 1000, 1 << 20}) {
    EXPECT_EQ(unit_root(0, n, 1), Complex(1.0, 0.0));
    EXPECT_EQ(unit_root(n / 4, n, 1), Complex(0.0, 1.0));
    EXPECT_EQ(unit_root(n / 2, n, 1), Complex(-1.0, 0.0));
    EXPECT_EQ(unit_root(3 * n / 4, n, -1), Complex(0.0, 1.0));
    EXPECT_EQ(unit_root(-n / 4, n, 1), Complex(0.0, -1.0));
  }
  for (std::int64_t n = 1; n < 200; ++n) {
    for (std::int64_t k = 0; k < n; ++k) {
      EXPECT_LE(std::abs(unit_root(k, n, 1) - std::conj(unit_root(n - k, n, 1))), 2.3e-16);
      EXPECT_NEAR(std::norm(unit_root(k, n, 1)), 1.0, 4e-16);
    }
  }
}

TEST(ReferencePadding, IsNumpys) {
  double samples[] = {1, 2, 3, 4};
  const Tensor x(samples, DType::kFloat64, {4});
  const auto padded = [&](std::int64_t pad, PadMode mode) {
    std::vector<double> values;
    for (const Complex& v : padded_signal(x, 0, pad, 3, mode)) values.push_back(v.real());
    return values;
  };
  EXPECT_EQ(padded(0, PadMode::kConstant), (std::vector<double>{0, 0, 0, 1, 2, 3, 4, 0, 0, 0}));
  EXPECT_EQ(padded(0, PadMode::kReflect), (std::vector<double>{4, 3, 2, 1, 2, 3, 4, 3, 2, 1}));
  EXPECT_EQ(padded(0, PadMode::kReplicate), (std::vector<double>{1, 1, 1, 1, 2, 3, 4, 4, 4, 4}));
  EXPECT_EQ(padded(0, PadMode::kCircular), (std::vector<double>{2, 3, 4, 1, 2, 3, 4, 1, 2, 3}));
  EXPECT_EQ(padded(1, PadMode::kReflect), (std::vector<double>{3, 2, 1, 0, 1, 2, 3, 4, 0, 4, 3, 2}));
}

}  // namespace
}  // namespace melisma::reference
