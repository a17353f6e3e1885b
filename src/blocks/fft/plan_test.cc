#include "blocks/fft/plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "blocks/reference/reference.h"

namespace melisma {
namespace {

TEST(Plan, TwiddlesAreExactToAnUlp) {
  for (std::int64_t n : {1, 2, 3, 4, 8, 12, 1000, 1103, 65536, 1 << 24}) {
    for (std::int64_t i = 0; i < 200; ++i) {
      const std::int64_t k = i * 7919 % n;
      const Twiddle got = twiddle(k, n);
      const reference::Complex want = reference::unit_root(k, n, -1);
      EXPECT_NEAR(got.re, want.real(), 2.3e-16) << k << " / " << n;
      EXPECT_NEAR(got.im, want.imag(), 2.3e-16) << k << " / " << n;
    }
  }
}

TEST(Plan, SmoothSizesFactorise) {
  for (std::int64_t n = 1; n <= 3000; ++n) {
    std::int64_t rest = n;
    for (const std::int64_t p : {2, 3, 5, 7, 11, 13}) {
      while (rest % p == 0) rest /= p;
    }
    ASSERT_EQ(is_smooth(n), rest == 1) << n;
    if (rest != 1) continue;
    for (const int first : {0, 2, 4, 8, 16}) {
      if (first > 0 && n % first != 0) continue;
      std::int64_t product = 1;
      const std::vector<int> radices = factorise(n, first);
      for (const int r : radices) {
        product *= r;
        EXPECT_TRUE(std::find(std::begin(kRadices), std::end(kRadices), r) != std::end(kRadices))
            << n << " radix " << r;
      }
      EXPECT_EQ(product, n);
      if (first > 0) {
        EXPECT_EQ(radices.front(), first);
      }
    }
  }
}

TEST(Plan, ConvolutionsAreLongEnough) {
  for (std::int64_t n = 1; n <= 5000; n += 7) {
    const std::int64_t m = convolution_size(n);
    EXPECT_GE(m, n);
    EXPECT_LE(m, 2 * n);
    EXPECT_TRUE(is_smooth(m));
  }
}

TEST(Plan, PositionsArePermutationsAndPlansAreShared) {
  for (const std::int64_t n : {1, 2, 12, 200, 512, 1001, 8192}) {
    const auto plan = fft_plan<float>(n, 0);
    EXPECT_EQ(plan->n, n);
    std::vector<bool> seen(static_cast<std::size_t>(n));
    for (const std::int32_t p : plan->position) seen.at(static_cast<std::size_t>(p)) = true;
    EXPECT_TRUE(std::all_of(seen.begin(), seen.end(), [](bool s) { return s; })) << n;
    EXPECT_EQ(fft_plan<float>(n, 0), plan);
  }
}

}  // namespace
}  // namespace melisma
