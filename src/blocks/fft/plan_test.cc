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

// Rounded once from values good to 2^-51: half a unit of float32's, and next to nothing.
TEST(Plan, TablesInFloat32AreRoundedOnce) {
  for (const std::int64_t n : {16, 96, 720, 1024, 4096, 30000, 65536}) {
    const auto check = [n](float got, double want) {
      EXPECT_NEAR(got, want, std::abs(want) * (0x1p-24 + 0x1p-50) + 0x1p-52) << n;
    };
    const auto real = real_twiddles<float>(n);
    for (std::int64_t k = 0; k <= n / 4; ++k) {
      const reference::Complex want = reference::unit_root(k, n, -1);
      check(real->re[static_cast<std::size_t>(k)], want.real());
      check(real->im[static_cast<std::size_t>(k)], want.imag());
    }
    const FftPass<float>& first = fft_plan<float>(n, 0)->passes.front();
    const float* got = first.twiddles;
    for (std::int64_t j = 0; j < first.sub_block; ++j) {
      for (int k = 1; k < first.radix; ++k, got += 2) {
        const reference::Complex want = reference::unit_root(j * k, n, -1);
        check(got[0], want.real());
        check(got[1], want.imag());
      }
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
