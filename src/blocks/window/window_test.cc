#include "melisma/window.h"

#include <cmath>
#include <numbers>

#include "testing/array.h"
#include "testing/fixtures.h"

namespace melisma {
namespace {

using namespace testing;

std::vector<double> window(const char* name, bool periodic, std::int64_t length, double parameter = 12.0) {
  std::vector<double> values(static_cast<std::size_t>(length));
  make_window(name, periodic, parameter, Tensor(values.data(), DType::kFloat64, {length}));
  return values;
}

TEST(Window, Formulas) {
  for (const std::int64_t length : {2, 3, 4, 7, 400, 1103, 8192, 65536}) {
    for (const bool periodic : {true, false}) {
      const double period = static_cast<double>(periodic ? length : length - 1);
      const auto hann = window("hann", periodic, length), hamming = window("hamming", periodic, length),
                 blackman = window("blackman", periodic, length), bartlett = window("bartlett", periodic, length),
                 ones = window("rectangular", periodic, length);
      for (std::int64_t i = 0; i < length; ++i) {
        const std::size_t at = static_cast<std::size_t>(i);
        const double x = static_cast<double>(i) / period, c = std::cos(2 * std::numbers::pi * x);
        EXPECT_NEAR(hann[at], 0.5 - 0.5 * c, 1e-15);
        EXPECT_NEAR(hamming[at], 0.54 - 0.46 * c, 1e-15);
        EXPECT_NEAR(blackman[at], 0.42 - 0.5 * c + 0.08 * std::cos(4 * std::numbers::pi * x), 1e-15);
        EXPECT_NEAR(bartlett[at], 1.0 - std::abs(2.0 * x - 1.0), 1e-15);
        EXPECT_EQ(ones[at], 1.0);
      }
    }
  }
}

TEST(Window, KaiserIsTheRatioOfBesselFunctions) {
  for (const double beta : {0.0, 1.0, 12.0, 100.0, 600.0}) {
    const auto kaiser = window("kaiser", false, 9, beta);
    for (std::size_t i = 0; i < 9; ++i) {
      const double r = static_cast<double>(i) / 4.0 - 1.0;
      const double want = std::cyl_bessel_i(0.0, beta * std::sqrt(1.0 - r * r)) / std::cyl_bessel_i(0.0, beta);
      EXPECT_NEAR(kaiser[i], want, 1e-12) << beta;
    }
  }
}

TEST(Window, SymmetricExactlyAndRoundedOnce) {
  for (const char* name : {"hann", "hamming", "blackman", "bartlett", "kaiser"}) {
    const auto values = window(name, true, 512);
    for (std::size_t i = 1; i < 512; ++i) EXPECT_EQ(values[i], values[512 - i]) << name;
    Array single(DType::kFloat32, {512}, {{}, 3, 0, {}});
    make_window(name, true, 12.0, single);
    single.expect_written_exactly(name);
    for (std::int64_t i = 0; i < 512; ++i) {
      EXPECT_EQ(static_cast<float>(single.get(i).real()), static_cast<float>(values[static_cast<std::size_t>(i)]));
    }
    EXPECT_EQ(window(name, true, 1)[0], 1.0);
  }
}

TEST(Window, Errors) {
  const Array out(DType::kFloat32, {8}), none(DType::kFloat32, {0}), square(DType::kFloat32, {2, 4}),
      integer(DType::kInt16, {8});
  const auto refused = [&](ErrorKind kind, const char* part, const char* name, double parameter, const Array& to) {
    expect_error(kind, "get_window", {part}, [&] { make_window(name, true, parameter, to); });
  };
  refused(ErrorKind::kInvalidArgument, "'hann'", "han", 12.0, out);
  refused(ErrorKind::kInvalidArgument, "beta", "kaiser", std::nan(""), out);
  refused(ErrorKind::kInvalidArgument, "beta", "kaiser", 1e9, out);
  refused(ErrorKind::kInvalidArgument, "dimension", "hann", 12.0, none);
  refused(ErrorKind::kInvalidArgument, "dimension", "hann", 12.0, square);
  refused(ErrorKind::kInvalidType, "int16", "hann", 12.0, integer);
  EXPECT_TRUE(out.untouched());
}

}  // namespace
}  // namespace melisma
